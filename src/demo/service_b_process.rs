//! Service B as a child of the demo: killed, and started again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::DemoError;

/// At most one Service B at a time, all incarnations with the same arguments and one log.
pub struct ServiceBProcess {
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl ServiceBProcess {
    /// Not started yet.
    pub fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            program,
            arguments,
            child: None,
        }
    }

    /// Starts the next one.
    pub fn start(&mut self) -> Result<(), DemoError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // It ends when this pipe does: with us, however we end.
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        #[cfg(unix)]
        {
            // A Ctrl-C is for the demo, which ends Service B itself.
            use std::os::unix::process::CommandExt;
            command.process_group(0);
        }
        let child = command
            .spawn()
            .map_err(DemoError::io("cannot start", &self.program))?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL: no destructor runs, no ACK is flushed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// An error if it ended although nobody killed it.
    pub fn check(&mut self) -> Result<(), DemoError> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Err(DemoError::ServiceB(status)),
            _ => Ok(()),
        }
    }
}

impl Drop for ServiceBProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
