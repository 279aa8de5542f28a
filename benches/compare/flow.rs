//! Messages that go by: sent at an even rate behind those that are there, each acknowledged a little later, and not before
//! it is in the log: what an ACK names that is not there yet is nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::ackwarden::clock;

use super::workload::{Shape, Writer};

const TICK: Duration = Duration::from_millis(5);
/// Beside what is measured, it goes on before that begins: clients connect, and the first messages arrive.
const WARM_UP: Duration = Duration::from_secs(2);
/// What it is beside has to be over by then.
const BESIDE_MAX: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub per_second: u64,
    /// Service B's work.
    pub acked_after: Duration,
    /// One of so many is never acknowledged.
    pub lost_one_in: Option<u64>,
}

impl Pace {
    /// Who fell behind catches up in steps of a tenth of a second's, so that ACKs go on.
    fn batch_max(self) -> u64 {
        (self.per_second / 10).max(1)
    }
}

pub struct Flow<'a> {
    pub pace: Pace,
    brokers: &'a str,
    shape: Shape,
    /// Of the next message, counted from the beginning of the source.
    next: u64,
}

/// What became of it: a machine that is too slow for the pace shows here.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub records: u64,
    pub took: Duration,
    /// The longest time between two batches.
    pub longest_gap: Duration,
}

impl Sent {
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }
}

impl<'a> Flow<'a> {
    /// Behind the `shape.records` messages that the source has.
    pub fn behind(brokers: &'a str, shape: Shape, pace: Pace) -> Self {
        Self {
            pace,
            brokers,
            shape,
            next: shape.records,
        }
    }

    /// Sends while it is told so, asked with the time since it began; the last ACKs are sent behind that.
    pub fn run_while(&mut self, goes_on: impl Fn(Duration) -> bool) -> Sent {
        let mut messages = Writer::new(self.brokers, self.shape);
        let acks = Writer::new(self.brokers, self.shape);
        let mut waiting: VecDeque<(Duration, Range<u64>)> = VecDeque::new();
        let first = self.next;
        let start = clock::instant();
        let (mut last, mut longest_gap) = (Duration::ZERO, Duration::ZERO);
        loop {
            let elapsed = start.elapsed();
            if !goes_on(elapsed) {
                break;
            }
            longest_gap = longest_gap.max(elapsed - last);
            last = elapsed;
            let due = first + (elapsed.as_secs_f64() * self.pace.per_second as f64) as u64;
            let due = due.min(self.next + self.pace.batch_max());
            for number in self.next..due {
                messages.message(number);
            }
            waiting.push_back((elapsed + self.pace.acked_after, self.next..due));
            self.next = due;
            let written = first + messages.written_of(self.next - first);
            while waiting
                .front()
                .is_some_and(|(at, numbers)| *at <= elapsed && numbers.end <= written)
            {
                self.acknowledge(&acks, waiting.pop_front());
            }
            messages.poll();
            acks.poll();
            std::thread::sleep(TICK);
        }
        let took = start.elapsed();
        messages.flush();
        // Else these, too, come due, all at once.
        self.acknowledge(&acks, waiting);
        acks.flush();
        Sent {
            records: self.next - first,
            took,
            longest_gap,
        }
    }

    /// Goes on while `work` is done, and a little before.
    pub fn beside<T>(&mut self, work: impl FnOnce() -> T) -> (T, Sent) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                self.run_while(|elapsed| !over.load(Ordering::Relaxed) && elapsed < BESIDE_MAX)
            });
            std::thread::sleep(WARM_UP);
            let done = work();
            over.store(true, Ordering::Relaxed);
            let sent = sending.join().expect("the flow");
            assert!(sent.took < BESIDE_MAX, "it ended before the work beside it");
            (done, sent)
        })
    }

    fn acknowledge(
        &self,
        writer: &Writer,
        batches: impl IntoIterator<Item = (Duration, Range<u64>)>,
    ) {
        let is_lost = |number: &u64| {
            self.pace
                .lost_one_in
                .is_some_and(|n| number.is_multiple_of(n))
        };
        for number in batches.into_iter().flat_map(|(_, numbers)| numbers) {
            if !is_lost(&number) {
                writer.ack(number);
            }
        }
    }
}
