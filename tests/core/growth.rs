//! Partitions that topics get while they are tracked: A and B find them first, brokers hear of them one after another, and we
//! from brokers.

use ackwarden::core::event::{Assignment, Fence};
use ackwarden::core::types::LOG_START;
use ackwarden::core::view::FrozenWhy;
use ackwarden::core::{
    AckBatch, AckIx, Coordinator, Effect, Event, Now, SourceBatch, TopicSettings,
};

use crate::driver::{LIMITS, T, at, policy};
use crate::scene::{Logs, Member};

fn start() -> (Logs, Member) {
    let logs = Logs::new();
    let mut member = Member::start(&logs, "g", policy(), 1_000);
    member.pass(&logs, 500);
    (logs, member)
}

/// B acknowledges it on an ACK partition that was just added.
fn acked_on_a_new_partition(logs: &mut Logs, offset: i64) {
    if logs.acks.len() < 2 {
        logs.acks.push(Vec::new());
    }
    logs.append_ack(1, "", at(offset), None);
}

#[test]
fn an_ack_partition_that_the_barriers_broker_has_not_heard_of_counts_where_a_fence_named_it() {
    let (mut logs, mut it) = start();
    it.barrier_knows = 1;
    let m = logs.send();
    acked_on_a_new_partition(&mut logs, m);
    it.pass(&logs, 5_000);
    assert_eq!((it.published.len(), it.outstanding()), (0, 0));
}

#[test]
fn an_ack_partition_that_is_heard_of_before_anything_is_read_is_read_and_waited_for() {
    let mut logs = Logs::new();
    let m = logs.send();
    acked_on_a_new_partition(&mut logs, m);
    let mut it = Member::start(&logs, "g", policy(), 1_000);
    it.acks_have_partitions(&logs, 2);
    (it.fence_knows, it.barrier_knows) = (1, 1);
    it.pass(&logs, 5_000);
    assert_eq!(it.published.len(), 0, "who answers knows less than we do");
    it.fence_knows = 2;
    it.pass(&logs, 5_000);
    assert_eq!((it.published.len(), it.outstanding()), (0, 0));
}

#[test]
fn what_is_heard_on_a_new_ack_partition_while_sources_are_read_again_is_read_again_too() {
    let (mut logs, mut it) = start();
    it.revoke(&logs);
    let m = logs.send();
    acked_on_a_new_partition(&mut logs, m);
    it.reads_source = false;
    it.fence_knows = 1;
    it.assign(&logs, 0, Some(vec![(0, 0)]), false, None);
    it.pass(&logs, 1_000);
    // Its ACK is read here, and its record is not.
    it.acks_have_partitions(&logs, 2);
    it.pass(&logs, 100);
    it.reads_source = true;
    it.fence_knows = 2;
    it.pass(&logs, 5_000);
    assert_eq!((it.published.len(), it.outstanding()), (0, 0));
}

#[test]
fn acks_that_were_gone_before_a_partition_appeared_are_no_loss_when_it_comes_back() {
    let (mut logs, mut it) = start();
    it.revoke(&logs);
    for _ in 0..3 {
        let m = logs.send();
        logs.ack(m);
    }
    logs.ack_start = 3;
    let open = logs.send();
    it.assign(&logs, LOG_START, None, true, None);
    it.pass(&logs, 500);
    let (low, acks) = it.committed.clone().expect("committed");
    it.crash_to(&logs, low, Some(acks));
    it.pass(&logs, 500);
    assert_eq!(it.frozen(), []);
    assert!(it.state(open).is_some());
}

#[test]
fn of_a_partition_that_appeared_and_has_lost_its_beginning_that_is_told() {
    let (mut logs, mut it) = start();
    it.revoke(&logs);
    logs.send();
    logs.send();
    logs.source_start = 1;
    it.assign(&logs, LOG_START, None, true, None);
    it.pass(&logs, 500);
    assert_eq!(it.frozen(), [FrozenWhy::SourceLost]);
}

#[test]
fn where_a_leader_does_not_know_a_partition_yet_that_is_no_loss() {
    let (mut logs, mut it) = start();
    it.acks_out_of_range(&logs, 0);
    it.revoke(&logs);
    it.assign(&logs, LOG_START, None, true, None);
    let unknown = Event::SourceOutOfRange {
        topic: T,
        partition: 0,
        log_start: 0,
        log_end: 0,
    };
    it.handle(&logs, unknown);
    let m = logs.send();
    it.pass(&logs, 500);
    assert_eq!(it.frozen(), []);
    assert!(it.state(m).is_some());
}

/// Partition 0 is tracked; of 1, brokers hear one after another, and it becomes ours a minute and more after it appeared.
/// What is read of the ACKs again for it begins where it was surely not there yet.
#[test]
fn a_partition_that_becomes_ours_long_after_it_appeared_is_not_taken_for_new() {
    let settings = TopicSettings {
        name: "orders".into(),
        ack: AckIx(0),
        ack_name: "orders-acks".into(),
        policy: policy(),
    };
    let mut it = Coordinator::new(vec![settings], LIMITS, 1);
    let assignment = |partition, low, acks: Option<Vec<(i32, i64)>>| Assignment {
        topic: T,
        partition,
        low,
        born: 0,
        log_start: 0,
        appeared: acks.is_none(),
        acks,
        ack_log_starts: vec![(0, 0)],
        former_owner_until_ms: 0,
        recreated: None,
        image: None,
    };
    let mut events = vec![Event::Assigned(vec![assignment(0, 0, Some(vec![(0, 0)]))])];
    let mut read_from = None;
    for ms in (0..200_000).step_by(100) {
        let now = Now {
            mono_ms: ms,
            wall_ms: 0,
        };
        // One ACK a second; the records of partition 0 are as many.
        let end = ms as i64 / 1_000;
        let applied = vec![(T, 0, end)];
        let records = Vec::new();
        events.push(Event::SourceBatch(SourceBatch { records, applied }));
        if ms == 170_000 {
            events.push(Event::Assigned(vec![assignment(1, LOG_START, None)]));
        }
        events.push(Event::Tick);
        let mut effects = Vec::new();
        it.handle_events(std::mem::take(&mut events), now, &mut effects);
        for effect in effects {
            match effect {
                Effect::AskFence { topic, round } => {
                    // It appeared at 100 s; who answers at 105 s has not heard of it.
                    let knows = ms > 110_000;
                    let source_ends = if knows {
                        vec![(0, end), (1, 0)]
                    } else {
                        vec![(0, end)]
                    };
                    let answer = Ok(Fence {
                        ack_ends: vec![(0, end)],
                        source_ends,
                    });
                    events.push(Event::Fence {
                        topic,
                        round,
                        answer,
                    });
                }
                Effect::ReadAcks {
                    ack,
                    from,
                    generation,
                    lane,
                } => {
                    if ms > 170_000 && read_from.is_none() {
                        read_from = Some(from[0].1);
                    }
                    events.push(Event::AckBatch(AckBatch {
                        ack,
                        records: Vec::new(),
                        applied: vec![(0, end)],
                        generation,
                        lane,
                    }));
                }
                _ => {}
            }
        }
    }
    let read_from = read_from.expect("its ACKs are read");
    assert!(read_from <= 100, "from {read_from}");
    assert!(read_from >= 10, "not all of them again: from {read_from}");
}
