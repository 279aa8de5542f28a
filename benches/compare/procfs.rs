//! What a process has used, from `/proc`: CPU time, and memory at its largest.

use std::fs;
use std::time::Duration;

/// Linux counts in these, whatever the kernel's own tick.
const TICKS_A_SECOND: u64 = 100;

/// User and system time of all threads, also those that have ended.
pub fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process's stat");
    // The name, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    Duration::from_millis((ticks(11) + ticks(12)) * 1_000 / TICKS_A_SECOND)
}

/// CPU time by the names of the threads that live, the busiest first; threads of one name together.
pub fn cpu_by_thread(pid: u32) -> Vec<(String, Duration)> {
    let mut found: Vec<(String, Duration)> = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return found;
    };
    for task in tasks.flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let nanos = stat.split(' ').next().and_then(|n| n.parse().ok());
        let spent = Duration::from_nanos(nanos.unwrap_or(0));
        match found.iter_mut().find(|(n, _)| n == name.trim()) {
            Some((_, sum)) => *sum += spent,
            None => found.push((name.trim().to_owned(), spent)),
        }
    }
    found.sort_by_key(|(_, spent)| std::cmp::Reverse(*spent));
    found
}

/// The largest resident set so far, in bytes.
pub fn peak_memory_of(pid: u32) -> u64 {
    field(pid, "status", "VmHWM:") * 1_024
}

/// The resident set, in bytes.
pub fn memory_of(pid: u32) -> u64 {
    field(pid, "status", "VmRSS:") * 1_024
}

/// Bytes that were sent to a disk, or will be.
pub fn written_by(pid: u32) -> u64 {
    field(pid, "io", "write_bytes:")
}

/// How often a thread gave up a core, or lost it.
pub fn switches_of(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let counts = status.lines().filter(|l| l.contains("ctxt_switches:"));
        let numbers = counts.filter_map(|l| l.rsplit('\t').next()?.trim().parse::<u64>().ok());
        numbers.sum::<u64>()
    };
    tasks.flatten().map(of).sum()
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process");
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {file}"))
}
