//! Raw results: one line a measurement, and the medians below.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::arguments::Row;
use super::support::say_loudly;

struct Line {
    who: String,
    records: u64,
    took: Duration,
    more: Vec<(&'static str, f64)>,
}

pub struct Table {
    name: &'static str,
    lines: Vec<Line>,
}

impl Table {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            lines: Vec::new(),
        }
    }

    pub fn add(&mut self, who: &str, records: u64, took: Duration, more: &[(&'static str, f64)]) {
        let line = Line {
            who: who.to_owned(),
            records,
            took,
            more: more.to_vec(),
        };
        say_loudly(&format!("  {}", line.text(self.name, " ")));
        self.lines.push(line);
    }

    /// `DIR/NAME.tsv`, replaced.
    pub fn write(&self, dir: &Path) {
        fs::create_dir_all(dir).expect("the directory for results");
        let mut text = String::from("row\twho\trecords\tseconds\tper_second\tmore\n");
        for line in &self.lines {
            text.push_str(&line.text(self.name, "\t"));
            text.push('\n');
        }
        fs::write(dir.join(format!("{}.tsv", self.name)), text).expect("results");
    }

    pub fn print(&self, row: &Row) {
        println!(
            "| row | records | who | /s | of the bare reader | to reach | CPU µs a lifecycle |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for (who, bare) in [
            ("bare", "bare"),
            ("bare-in-turn", "bare"),
            ("rebuild", "bare"),
            ("bare-live", "bare-live"),
            ("settled-live", "bare-live"),
            ("committed-live", "bare-live"),
        ] {
            let speed = self.median(who);
            println!(
                "| {} | {} | {who} | {speed:.0} | {:.2} | {} | {:.2} |",
                self.name,
                row.shape.records,
                speed / self.median(bare),
                row.ratio_wanted,
                self.median_of(who, "cpu_us"),
            );
        }
    }

    /// Who, how much of what, in medians: for rows without a ratio.
    pub fn print_all(&self) {
        let mut seen: Vec<&str> = Vec::new();
        println!(
            "| {} | records | seconds | more |\n| --- | --- | --- | --- |",
            self.name
        );
        for line in &self.lines {
            if seen.contains(&line.who.as_str()) {
                continue;
            }
            seen.push(&line.who);
            let same = self.lines.iter().filter(|l| l.who == line.who);
            let seconds = median(same.map(|l| l.took.as_secs_f64()).collect());
            let more = line
                .more
                .iter()
                .map(|(what, _)| format!("{what} {:.3}", self.median_of(&line.who, what)));
            let more: Vec<String> = more.collect();
            println!(
                "| {} | {} | {seconds:.3} | {} |",
                line.who,
                line.records,
                more.join(", ")
            );
        }
    }

    fn median(&self, who: &str) -> f64 {
        let lines = self.lines.iter().filter(|l| l.who == who);
        median(lines.map(Line::per_second).collect())
    }

    fn median_of(&self, who: &str, what: &str) -> f64 {
        let lines = self.lines.iter().filter(|l| l.who == who);
        let values = lines.filter_map(|l| l.more.iter().find(|(name, _)| *name == what));
        median(values.map(|(_, value)| *value).collect())
    }
}

impl Line {
    fn per_second(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }

    fn text(&self, row: &str, between: &str) -> String {
        let mut parts = vec![
            row.to_owned(),
            self.who.clone(),
            self.records.to_string(),
            format!("{:.3}", self.took.as_secs_f64()),
            format!("{:.0}", self.per_second()),
        ];
        let more = self
            .more
            .iter()
            .map(|(name, value)| format!("{name}={value:.3}"));
        parts.extend(more);
        parts.join(between)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// In the middle, of all but one in a hundred, and the longest.
pub fn spread_ms(values: &mut [Duration]) -> [(&'static str, f64); 3] {
    [("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)]
        .map(|(name, share)| (name, ms(quantile(values, share))))
}

/// The value below which that share of them lies; they are sorted by it.
pub fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1) as f64;
    values
        .get((last * share).round() as usize)
        .copied()
        .unwrap_or_default()
}
