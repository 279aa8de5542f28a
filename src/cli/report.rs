//! What `ackwarden check` found.

use std::fmt::Write as _;

use super::args::exit;

/// What was found; printed line by line.
#[derive(Debug, Default)]
pub struct Report {
    lines: String,
    failures: usize,
    warnings: usize,
}

impl Report {
    pub(super) fn ok(&mut self, what: &str) {
        let _ = writeln!(self.lines, "ok    {what}");
    }

    pub(super) fn warn(&mut self, what: &str) {
        self.warnings += 1;
        let _ = writeln!(self.lines, "warn  {what}");
    }

    pub(super) fn fail(&mut self, what: &str) {
        self.failures += 1;
        let _ = writeln!(self.lines, "FAIL  {what}");
    }

    pub(super) const fn failures(&self) -> usize {
        self.failures
    }

    /// All lines, and a last one that counts.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{}{} failures, {} warnings\n",
            self.lines, self.failures, self.warnings
        )
    }

    /// The exit code: only failures count.
    #[must_use]
    pub const fn code(&self) -> u8 {
        if self.failures == 0 {
            exit::OK
        } else {
            exit::FAILED
        }
    }
}
