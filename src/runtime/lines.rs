//! What waits for the engine, in three lines: ACKs, what users ask, and everything else.
//!
//! An ACK by id that is applied before its message was read has to be kept until then, which costs more than everything else
//! that is done for a message. After an outage both logs are behind, and the ACKs, which are small, come sooner. So the engine
//! may let them wait: their readers then wait, too. Between these two lines any order is one that Kafka could have brought.
//!
//! What users ask does not stand behind what was read: they look when much is going on. It is answered in turn with the rest,
//! and each answer is bounded in work, so that who asks all the time does not keep the engine from its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SendError, SyncSender, TryRecvError, sync_channel,
};
use std::time::Duration;

use super::input::Input;
use crate::core::{AckBatch, Event};
use crate::ports::ApiRequest;

/// How many inputs may wait in each line; a reader's batch is one. Past it, readers wait: that is the back-pressure.
const LINE_MAX: usize = 32;
/// So much else goes before a batch of ACKs that is to wait.
const ACKS_AFTER: u32 = 16;

/// Where ACKs are put.
#[derive(Clone)]
pub struct AckLine {
    batches: SyncSender<AckBatch>,
    bell: Bell,
}

/// Where what users ask is put.
#[derive(Clone)]
pub struct RequestLine {
    requests: SyncSender<ApiRequest>,
    bell: Bell,
}

/// Wakes an engine that sleeps on the line of everything else.
#[derive(Clone)]
struct Bell {
    inputs: SyncSender<Input>,
    is_rung: Arc<AtomicBool>,
}

/// What the engine takes them from.
pub struct Lines {
    inputs: Receiver<Input>,
    acks: Receiver<AckBatch>,
    requests: Receiver<ApiRequest>,
    is_rung: Arc<AtomicBool>,
    /// What was taken last is what a user asked.
    was_request: bool,
    /// What was taken of the other line since.
    since_acks: u32,
    /// What comes behind so many batches of ACKs, which were read before it was found.
    behind: Option<(Input, usize)>,
}

/// Both ends of all.
#[must_use]
pub fn lines() -> (SyncSender<Input>, AckLine, RequestLine, Lines) {
    let (inputs, received) = sync_channel(LINE_MAX);
    let (batches, acks) = sync_channel(LINE_MAX);
    let (asked, requests) = sync_channel(LINE_MAX);
    let bell = Bell {
        inputs: inputs.clone(),
        is_rung: Arc::default(),
    };
    let lines = Lines {
        inputs: received,
        acks,
        requests,
        is_rung: Arc::clone(&bell.is_rung),
        was_request: false,
        since_acks: 0,
        behind: None,
    };
    let ack_line = AckLine {
        batches,
        bell: bell.clone(),
    };
    let request_line = RequestLine {
        requests: asked,
        bell,
    };
    (inputs, ack_line, request_line, lines)
}

impl AckLine {
    /// Waits while the line is full.
    ///
    /// # Errors
    /// The engine is gone.
    pub fn put(&self, batch: AckBatch) -> Result<(), SendError<AckBatch>> {
        self.batches.send(batch)?;
        self.bell.ring();
        Ok(())
    }
}

impl RequestLine {
    /// Waits while the line is full. Gives it back where the engine is gone.
    #[must_use]
    pub fn put(&self, request: ApiRequest) -> Option<ApiRequest> {
        if is_merged_with_what_is_known(&request) {
            return match self.bell.inputs.send(Input::Api(request)) {
                Err(SendError(Input::Api(request))) => Some(request),
                _ => None,
            };
        }
        match self.requests.send(request) {
            Ok(()) => {
                self.bell.ring();
                None
            }
            Err(SendError(request)) => Some(request),
        }
    }
}

/// Another instance's change may be in line already: it is merged with that.
fn is_merged_with_what_is_known(request: &ApiRequest) -> bool {
    matches!(
        request,
        ApiRequest::PatchPolicy { .. } | ApiRequest::ResetPolicy { .. } | ApiRequest::Pause { .. }
    )
}

impl Bell {
    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // Where there is no room, it does not sleep, and looks itself before it does.
            let _ = self.inputs.try_send(Input::OthersWait);
        }
    }
}

impl Lines {
    /// What comes next, within that time: what users ask and the rest in turn, and of that the two lines in turn. If ACKs are
    /// to `wait`, they are taken where nothing else is there, and else one batch for each sixteen of the rest.
    ///
    /// # Errors
    /// Nothing came, or nobody can send any more.
    pub fn next(&mut self, acks_wait: bool, within: Duration) -> Result<Input, RecvTimeoutError> {
        if !self.was_request
            && let Some(request) = self.request()
        {
            return Ok(request);
        }
        self.was_request = false;
        if let Some((input, ahead)) = self.behind.take() {
            if ahead > 0
                && let Some(acks) = self.acks()
            {
                self.behind = Some((input, ahead - 1));
                return Ok(acks);
            }
            return Ok(input);
        }
        let turn = if acks_wait { ACKS_AFTER } else { 1 };
        if self.since_acks >= turn
            && let Some(input) = self.acks()
        {
            return Ok(input);
        }
        match self.inputs.try_recv() {
            Ok(input) => return Ok(self.taken(input)),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        if let Some(input) = self.acks() {
            return Ok(input);
        }
        // Whoever puts something there from now on rings.
        self.is_rung.swap(false, Ordering::AcqRel);
        if let Some(input) = self.acks().or_else(|| self.request()) {
            return Ok(input);
        }
        let input = self.inputs.recv_timeout(within)?;
        Ok(self.taken(input))
    }

    fn request(&mut self) -> Option<Input> {
        let request = self.requests.try_recv().ok()?;
        self.was_request = true;
        Some(Input::Api(request))
    }

    fn acks(&mut self) -> Option<Input> {
        let batch = self.acks.try_recv().ok()?;
        self.since_acks = 0;
        Some(Input::Event(Event::AckBatch(batch)))
    }

    fn taken(&mut self, input: Input) -> Input {
        self.since_acks = self.since_acks.saturating_add(1);
        if comes_behind_acks(&input)
            && let Some(acks) = self.acks()
        {
            self.behind = Some((input, LINE_MAX - 1));
            return acks;
        }
        input
    }

    /// Lets go of all that waits, so that nobody waits for us.
    pub fn clear(&mut self) {
        while self.inputs.try_recv().is_ok() {}
        while self.acks.try_recv().is_ok() {}
        while self.requests.try_recv().is_ok() {}
    }
}

/// What says that ACKs are gone, or are another topic's: what was read before that was put into the line before.
fn comes_behind_acks(input: &Input) -> bool {
    matches!(
        input,
        Input::Event(Event::AckOutOfRange { .. }) | Input::MadeAnew { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{AckIx, Lane};

    const SOON: Duration = Duration::from_millis(1);

    fn batch(n: u64) -> AckBatch {
        AckBatch {
            ack: AckIx(0),
            records: Vec::new(),
            applied: Vec::new(),
            generation: n,
            lane: Lane::Main,
        }
    }

    /// `t`: a tick, `a`: ACKs, `?`: what a user asks, `.`: what says that there is some, `!`: that ACKs are gone.
    fn taken(lines: &mut Lines, acks_wait: bool, count: usize) -> String {
        let next = |_| match lines.next(acks_wait, SOON) {
            Ok(Input::Event(Event::Tick)) => 't',
            Ok(Input::Event(Event::AckBatch(_))) => 'a',
            Ok(Input::OthersWait) => '.',
            Ok(Input::Api(_)) => '?',
            Ok(Input::Event(Event::AckOutOfRange { .. })) => '!',
            _ => '-',
        };
        (0..count).map(next).collect()
    }

    fn ticks(inputs: &SyncSender<Input>, count: usize) {
        for _ in 0..count {
            inputs.send(Input::Event(Event::Tick)).unwrap();
        }
    }

    #[test]
    fn they_take_turns() {
        let (inputs, acks, _requests, mut lines) = lines();
        ticks(&inputs, 3);
        (0..3).for_each(|n| acks.put(batch(n)).unwrap());
        assert_eq!(taken(&mut lines, false, 8), "tatata.-");
    }

    #[test]
    fn what_users_ask_goes_before_all_that_waits_and_in_turn_with_it() {
        let (inputs, acks, requests, mut lines) = lines();
        ticks(&inputs, 3);
        acks.put(batch(0)).unwrap();
        for _ in 0..6 {
            let (reply, _) = tokio::sync::oneshot::channel();
            assert!(requests.put(ApiRequest::Stats { reply }).is_none());
        }
        assert_eq!(taken(&mut lines, false, 12), "?t?a?t?t?.?-");
    }

    #[test]
    fn a_change_does_not_overtake_what_another_instance_has_changed() {
        let (inputs, _acks, requests, mut lines) = lines();
        ticks(&inputs, 2);
        let (reply, _) = tokio::sync::oneshot::channel();
        let pause = ApiRequest::Pause {
            topic: crate::core::TopicIx(0),
            paused: true,
            reply,
        };
        assert!(requests.put(pause).is_none());
        assert_eq!(taken(&mut lines, false, 4), "tt?-");
    }

    #[test]
    fn acks_that_wait_come_when_nothing_else_is_there_and_now_and_then() {
        let (inputs, acks, _requests, mut lines) = lines();
        (0..3).for_each(|n| acks.put(batch(n)).unwrap());
        ticks(&inputs, 20);
        let expected = format!(".{}a{}aa-", "t".repeat(15), "t".repeat(5));
        assert_eq!(taken(&mut lines, true, 25), expected);
    }

    #[test]
    fn that_acks_are_gone_is_told_behind_those_that_were_read() {
        let (inputs, acks, _requests, mut lines) = lines();
        (0..5).for_each(|n| acks.put(batch(n)).unwrap());
        let gone = Event::AckOutOfRange {
            ack: AckIx(0),
            lane: Lane::Main,
            generation: 0,
            partition: 0,
            log_start: 9,
        };
        inputs.send(Input::Event(gone)).unwrap();
        ticks(&inputs, 2);
        assert_eq!(taken(&mut lines, true, 9), ".aaaaa!tt");
    }

    #[test]
    fn whoever_sleeps_is_woken_by_acks_each_time() {
        let (_inputs, acks, _requests, mut lines) = lines();
        let putting = std::thread::spawn(move || {
            for n in 0..200 {
                if n % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
                acks.put(batch(n)).unwrap();
            }
        });
        let mut next = 0;
        while next < 200 {
            match lines.next(next % 2 == 0, Duration::from_secs(20)) {
                Ok(Input::Event(Event::AckBatch(batch))) => {
                    assert_eq!(batch.generation, next);
                    next += 1;
                }
                Ok(Input::OthersWait) => {}
                other => panic!("{other:?}"),
            }
        }
        putting.join().unwrap();
    }

    #[test]
    fn acks_that_came_while_the_other_line_was_full_are_found_behind_it() {
        let (inputs, acks, _requests, mut lines) = lines();
        ticks(&inputs, LINE_MAX);
        acks.put(batch(0)).unwrap();
        let all = taken(&mut lines, true, LINE_MAX + 2);
        assert_eq!(all.matches('a').count(), 1, "{all}");
        acks.put(batch(1)).unwrap();
        assert_eq!(taken(&mut lines, true, 2), "a.", "it is told again");
    }
}
