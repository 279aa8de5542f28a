//! Child processes that cannot outlive the test process, and signals to them.
//!
//! Statics are not dropped at exit and a killed process runs no destructors, so each child has a *watchdog*: a shell that
//! waits for the end of its standard input, a pipe of which only this process holds the other end. When this process
//! ends, in whatever way, the watchdog kills the child and removes its directory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ::ackwarden::clock;

/// A child with its watchdog. Dropping it kills the child (SIGKILL) and keeps the directory.
pub struct Guarded {
    child: Child,
    watchdog: Child,
}

/// Signals that tests send.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    Term,
    Kill,
    Stop,
    Cont,
    Int,
    Hup,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Int => "INT",
            Self::Hup => "HUP",
        }
    }
}

/// `done` dismisses the watchdog; the end of its input makes it act. Ctrl-C goes to the whole process group, and the
/// watchdog has to survive it to clean up.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r word
[ "$word" = done ] && exit 0
kill -9 "$1" 2>/dev/null
[ -n "$2" ] && sleep 0.2 && rm -rf "$2"
exit 0
"#;

impl Guarded {
    /// Starts the command. `remove` is the directory to be removed should this process end without dropping the guard.
    pub fn spawn(command: &mut Command, remove: Option<&Path>) -> Self {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let remove = remove.map_or_else(PathBuf::new, Path::to_path_buf);
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &child.id().to_string()])
            .arg(remove)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh for the watchdog");
        Self { child, watchdog }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As long as the child was not waited for, its pid is not given to anybody else.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_some() {
            return;
        }
        let status = Command::new("kill")
            .arg(format!("-{}", signal.name()))
            .arg(self.child.id().to_string())
            .status()
            .expect("kill(1)");
        assert!(
            status.success(),
            "kill -{} {}: {status}",
            signal.name(),
            self.child.id()
        );
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child's status")
    }

    /// Waits for its end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = clock::instant();
        loop {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            if start.elapsed() >= limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; SIGKILL when that has not ended it within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::Term);
        self.wait(limit).unwrap_or_else(|| {
            let _ = self.child.kill();
            self.child.wait().expect("the child's status")
        })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill9();
        if let Some(mut input) = self.watchdog.stdin.take() {
            let _ = input.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}
