//! How a topic's messages are timed, retried and given up: checked values, in milliseconds.

/// What to do where records or ACKs were gone before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostRange {
    /// Freeze the partition until an operator decides.
    Stop,
    /// Say so, count it, and go on from where the log begins.
    ReportAndContinue,
}

/// What two outstanding messages with one id are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameId {
    /// Two messages: an ACK by that id settles neither.
    Keep,
    /// One message that was sent twice: they settle together.
    OneMessage,
}

/// A topic's policy in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How long the ACK of the first delivery may take.
    pub timeout_ms: u64,
    /// Each further delivery waits that many times longer; ≥ 1.0.
    pub backoff: f64,
    /// No wait grows past this.
    pub timeout_max_ms: u64,
    /// ± share of the wait, from the second delivery on; 0.0 to 1.0.
    pub jitter: f64,
    /// Deliveries in all, the first included; 0 = without end.
    pub max_attempts: u32,
    /// What a NACK that names no delay waits, times the same backoff.
    pub nack_delay_ms: u64,
    /// Upper bound of what a record's own timeout or delay may ask for, and of all extensions of one attempt together.
    pub delay_max_ms: u64,
    /// Where exhausted messages go; `None`: they are parked.
    pub dead_letter: Option<Box<str>>,
    /// Retries a second, at most; 0 = unlimited.
    pub retry_rate: u32,
    pub same_id: SameId,
    pub on_lost_range: OnLostRange,
    /// Track and report only: nothing is written to source, retry, ACK or dead-letter topics.
    pub observe_only: bool,
}

/// What an operator changed at runtime: the keys that are set win over file and defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyPatch {
    pub timeout_ms: Option<u64>,
    pub backoff: Option<f64>,
    pub timeout_max_ms: Option<u64>,
    pub jitter: Option<f64>,
    pub max_attempts: Option<u32>,
    pub nack_delay_ms: Option<u64>,
    pub delay_max_ms: Option<u64>,
    /// `Some(None)`: none, exhausted messages are parked. The name is resolved: no `{topic}` in it.
    pub dead_letter: Option<Option<Box<str>>>,
    pub retry_rate: Option<u32>,
    pub on_lost_range: Option<OnLostRange>,
}

impl PolicyPatch {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This patch with a later one laid over it: the keys of `later` win.
    #[must_use]
    pub fn merged(&self, later: &Self) -> Self {
        Self {
            timeout_ms: later.timeout_ms.or(self.timeout_ms),
            backoff: later.backoff.or(self.backoff),
            timeout_max_ms: later.timeout_max_ms.or(self.timeout_max_ms),
            jitter: later.jitter.or(self.jitter),
            max_attempts: later.max_attempts.or(self.max_attempts),
            nack_delay_ms: later.nack_delay_ms.or(self.nack_delay_ms),
            delay_max_ms: later.delay_max_ms.or(self.delay_max_ms),
            dead_letter: later
                .dead_letter
                .clone()
                .or_else(|| self.dead_letter.clone()),
            retry_rate: later.retry_rate.or(self.retry_rate),
            on_lost_range: later.on_lost_range.or(self.on_lost_range),
        }
    }
}

impl Policy {
    /// This policy with the patch's keys laid over it.
    #[must_use]
    pub fn patched(&self, patch: &PolicyPatch) -> Self {
        Self {
            timeout_ms: patch.timeout_ms.unwrap_or(self.timeout_ms),
            backoff: patch.backoff.unwrap_or(self.backoff),
            timeout_max_ms: patch.timeout_max_ms.unwrap_or(self.timeout_max_ms),
            jitter: patch.jitter.unwrap_or(self.jitter),
            max_attempts: patch.max_attempts.unwrap_or(self.max_attempts),
            nack_delay_ms: patch.nack_delay_ms.unwrap_or(self.nack_delay_ms),
            delay_max_ms: patch.delay_max_ms.unwrap_or(self.delay_max_ms),
            dead_letter: patch
                .dead_letter
                .clone()
                .unwrap_or_else(|| self.dead_letter.clone()),
            retry_rate: patch.retry_rate.unwrap_or(self.retry_rate),
            same_id: self.same_id,
            on_lost_range: patch.on_lost_range.unwrap_or(self.on_lost_range),
            observe_only: self.observe_only,
        }
    }
}

impl Default for Policy {
    /// The defaults of the contract; the dead-letter topic is named per topic by the configuration.
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            backoff: 2.0,
            timeout_max_ms: 600_000,
            jitter: 0.1,
            max_attempts: 5,
            nack_delay_ms: 1_000,
            delay_max_ms: 3_600_000,
            dead_letter: None,
            retry_rate: 1_000,
            same_id: SameId::Keep,
            on_lost_range: OnLostRange::Stop,
            observe_only: false,
        }
    }
}
