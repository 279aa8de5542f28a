//! Pages against the plain truth: every message looked up by its position, filtered, and put in order.

use ackwarden::core::view::{Lookup, MessageFilter, MessageView, State};
use ackwarden::core::{
    AckBatch, AckExtra, AckRecord, AckTarget, Event, LogPosition, SourceBatch, SourceExtra,
    SourceRecord, Verdict,
};
use proptest::prelude::*;

use crate::workload::{A, Rig, Shape, T};

const PARTITIONS: i32 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A message of that partition, with an id of a few.
    Comes(i32, Option<u8>),
    /// What B says of one that has come.
    Said(i32, i64, Verdict),
    Passes(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..PARTITIONS;
    let verdict = prop::sample::select(vec![Verdict::Ack, Verdict::Nack, Verdict::Extend]);
    prop_oneof![
        6 => (partition(), prop::option::of(0..6_u8)).prop_map(|(p, id)| Step::Comes(p, id)),
        3 => (partition(), 0..40_i64, verdict).prop_map(|(p, o, v)| Step::Said(p, o, v)),
        1 => (0..5_u64).prop_map(Step::Passes),
    ]
}

fn filter() -> impl Strategy<Value = MessageFilter> {
    let states = prop::sample::subsequence(
        vec![State::Outstanding, State::Retrying, State::Parked],
        0..3,
    );
    (
        (
            states,
            prop::option::weighted(0.3, 0..6_u8),
            0..2_u32,
            any::<bool>(),
            1..9_usize,
        ),
        (
            prop::option::weighted(0.3, 0..60_u64),
            prop::option::weighted(0.3, 0..40_000_u64),
        ),
    )
        .prop_map(
            |((states, id, min_attempt, newest_first, limit), (older, due))| MessageFilter {
                topic: None,
                states,
                id: id.map(|n| format!("id-{n}").into()),
                min_attempt,
                older_than_ms: older,
                due_within_ms: due,
                newest_first,
                limit,
                cursor: None,
            },
        )
}

fn play(steps: Vec<Step>) -> (Rig, Vec<i64>) {
    let shape = Shape {
        partitions: PARTITIONS,
        ack_partitions: 1,
        ..Shape::default()
    };
    let mut rig = Rig::new(shape, Rig::limits());
    let mut ends = vec![0; PARTITIONS as usize];
    let mut said = 0;
    for step in steps {
        match step {
            Step::Passes(ms) => rig.pass(ms),
            Step::Comes(partition, id) => {
                let end = &mut ends[partition as usize];
                let extra = id.map(|n| {
                    Box::new(SourceExtra {
                        id: Some(format!("id-{n}").into()),
                        ..SourceExtra::default()
                    })
                });
                let record = SourceRecord {
                    topic: T,
                    partition,
                    offset: *end,
                    timestamp_ms: 0,
                    len: 9,
                    digest: *end as u64,
                    extra,
                };
                *end += 1;
                rig.run(vec![Event::SourceBatch(SourceBatch {
                    records: vec![record],
                    applied: vec![(T, partition, *end)],
                })]);
            }
            Step::Said(partition, offset, verdict) if offset < ends[partition as usize] => {
                let extra = AckExtra {
                    verdict,
                    ..AckExtra::default()
                };
                let record = AckRecord {
                    at: LogPosition::new(0, said),
                    target: AckTarget::Position {
                        topic: T,
                        partition,
                        offset,
                    },
                    extra: (verdict != Verdict::Ack).then(|| Box::new(extra)),
                };
                said += 1;
                rig.run(vec![Event::AckBatch(AckBatch {
                    ack: A,
                    records: vec![record],
                    applied: vec![(0, said)],
                    generation: rig.generation,
                    lane: ackwarden::core::types::Lane::Main,
                })]);
            }
            Step::Said(..) => {}
        }
    }
    (rig, ends)
}

/// All that the filter wants, by looking at each position.
fn truth(rig: &Rig, ends: &[i64], filter: &MessageFilter) -> Vec<MessageView> {
    let places =
        (0..PARTITIONS).flat_map(|p| (0..ends[p as usize]).map(move |o| LogPosition::new(p, o)));
    let mut all: Vec<MessageView> = places
        .filter_map(|at| match rig.core.lookup(T, at, rig.now) {
            Lookup::Found(found) => Some(found.message),
            _ => None,
        })
        .filter(|m| {
            let due = m.deadline_wall_ms.map(|at| at - rig.now.wall_ms);
            !m.state.is_settled()
                && (filter.states.is_empty() || filter.states.contains(&m.state))
                && m.attempt >= filter.min_attempt
                && filter
                    .id
                    .as_ref()
                    .is_none_or(|id| m.id.as_ref() == Some(id))
                && filter.older_than_ms.is_none_or(|ms| m.age_ms >= ms)
                && filter
                    .due_within_ms
                    .is_none_or(|ms| due.is_some_and(|d| d <= ms as i64))
        })
        .collect();
    all.sort_by_key(|m| (m.seen_wall_ms, m.position));
    if filter.newest_first {
        all.reverse();
    }
    all
}

proptest! {
    #[test]
    fn pages_one_behind_the_other_are_all_there_is_in_order(
        steps in prop::collection::vec(step(), 0..120),
        filter in filter(),
    ) {
        let (rig, ends) = play(steps);
        let wanted = truth(&rig, &ends, &filter);
        let mut filter = filter;
        let mut found = Vec::new();
        loop {
            let page = rig.core.messages(&filter, rig.now);
            prop_assert!(page.messages.len() <= filter.limit);
            found.extend(page.messages);
            filter.cursor = page.next;
            if filter.cursor.is_none() {
                break;
            }
        }
        prop_assert_eq!(found, wanted);
    }
}
