//! Reading by offset, and fetching single records.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};

use ackwarden::core::types::LOG_START;
use ackwarden::kafka::fetch::{Answers, FetchAnswer, FetchRequest, Fetcher, Wanted};
use ackwarden::kafka::reader::{Applied, Reader, RecordSink};
use ackwarden::ports::{OwnedHeader, RawRecord};

use crate::support::eventually;
use crate::{PATIENCE, Publishing, Scene, header, record};

#[derive(Debug)]
enum Seen {
    Record {
        partition: i32,
        offset: i64,
        value: Option<Vec<u8>>,
        headers: Vec<OwnedHeader>,
    },
    Applied(Vec<(i32, i64)>, u64),
    OutOfRange(i32),
}

struct Sink {
    seen: Sender<Seen>,
    /// It waits for this when it is told of `others`.
    gate: Option<Receiver<()>>,
}

impl RecordSink for Sink {
    fn record(&mut self, record: &RawRecord<'_>) {
        let mut headers = Vec::new();
        record.headers.visit(&mut |name, value| {
            headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            ControlFlow::Continue(())
        });
        let _ = self.seen.send(Seen::Record {
            partition: record.partition,
            offset: record.offset,
            value: record.value.map(<[u8]>::to_vec),
            headers,
        });
    }

    fn end_of_batch(&mut self, applied: &[Applied]) {
        for topic in ["orders", "others"] {
            let of: Vec<&Applied> = applied.iter().filter(|a| a.topic == topic).collect();
            if let Some(first) = of.first() {
                assert!(of.iter().all(|a| a.generation == first.generation));
                let positions = of.iter().map(|a| (a.partition, a.position)).collect();
                let _ = self.seen.send(Seen::Applied(positions, first.generation));
                if let ("others", Some(gate)) = (topic, &self.gate) {
                    let _ = gate.recv_timeout(PATIENCE);
                }
            }
        }
    }

    fn out_of_range(&mut self, _topic: &str, partition: i32, _generation: u64) {
        let _ = self.seen.send(Seen::OutOfRange(partition));
    }
}

fn reader(scene: &Scene) -> (Reader, Receiver<Seen>) {
    reader_behind(scene, None)
}

fn reader_behind(scene: &Scene, gate: Option<Receiver<()>>) -> (Reader, Receiver<Seen>) {
    let (seen, sees) = channel();
    let settings = scene.settings.reader("test");
    let sink = Sink { seen, gate };
    let reader = Reader::spawn("test", &settings, &scene.trouble, sink).expect("a reader");
    (reader, sees)
}

/// Offsets of a partition that are read until it is applied up to `end`.
fn read_to(sees: &Receiver<Seen>, partition: i32, end: i64) -> Vec<i64> {
    let mut offsets = Vec::new();
    loop {
        match sees.recv_timeout(PATIENCE).expect("something is read") {
            Seen::Record {
                partition: p,
                offset,
                ..
            } if p == partition => offsets.push(offset),
            Seen::Applied(positions, _) if positions.contains(&(partition, end)) => {
                return offsets;
            }
            _ => {}
        }
    }
}

/// Waits until all orders so far are carried out, one after the other, and forgets what was read meanwhile.
fn carried_out(reader: &Reader, sees: &Receiver<Seen>) {
    const LAST: u64 = 99;
    reader.read("others", &[(0, 0)], LAST);
    loop {
        if let Seen::Applied(_, LAST) = sees.recv_timeout(PATIENCE).expect("it is told") {
            return;
        }
    }
}

/// Long enough for a fetch to be answered.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(400));
}

#[test]
fn headers_and_values_come_as_bytes() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    let mut out = record(0, "");
    out.headers = vec![
        header("a", Some(b"\xff\x00\xfe")),
        header("a", None),
        header("a", Some(b"")),
    ];
    publishing.publish(1, &out);
    out.value = None;
    publishing.publish(2, &out);
    let (reader, sees) = reader(&scene);
    reader.read("orders", &[(0, LOG_START)], 3);
    let mut values = Vec::new();
    loop {
        match sees.recv_timeout(PATIENCE).expect("something is read") {
            Seen::Record { value, headers, .. } => {
                assert_eq!(headers, out.headers);
                values.push(value);
            }
            Seen::Applied(positions, generation) => {
                assert_eq!(generation, 3);
                if positions == [(0, 2)] {
                    break;
                }
            }
            Seen::OutOfRange(_) => panic!("out of range"),
        }
    }
    assert_eq!(values, [Some(Vec::new()), None]);
}

#[test]
fn after_a_reposition_nothing_of_the_old_position_is_handed_on() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, 300);
    let (reader, sees) = reader(&scene);
    for from in [0, 250, 10, 299, 0, 120] {
        reader.read("orders", &[(0, from)], 1);
    }
    assert_eq!(read_to(&sees, 0, 300).last(), Some(&299));
    reader.read("orders", &[(0, 290)], 2);
    let again = read_to(&sees, 0, 300);
    assert_eq!(again, (290..300).collect::<Vec<_>>());
}

#[test]
fn each_topic_counts_its_own_orders() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, 2);
    let (reader, sees) = reader(&scene);
    reader.read("others", &[(0, 0)], 7);
    reader.read("orders", &[(0, 0)], 1);
    let mut told = Vec::new();
    while told.len() < 2 {
        if let Seen::Applied(positions, generation) = sees.recv_timeout(PATIENCE).expect("told")
            && let [(0, position)] = positions[..]
            && [0, 2].contains(&position)
        {
            told.push((position, generation));
        }
    }
    told.sort_unstable();
    assert_eq!(told, [(0, 7), (2, 1)]);
}

#[test]
fn an_idle_partition_is_applied_up_to_its_end() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(1, 5);
    let (reader, sees) = reader(&scene);
    reader.read("orders", &[(1, 5)], 1);
    assert_eq!(read_to(&sees, 1, 5), Vec::<i64>::new());
}

#[test]
fn an_offset_that_the_log_has_not_got_is_told_and_not_skipped() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, 5);
    let (reader, sees) = reader(&scene);
    reader.read("orders", &[(0, 50)], 1);
    loop {
        match sees.recv_timeout(PATIENCE).expect("it is told") {
            Seen::OutOfRange(0) => return,
            Seen::Record { .. } => panic!("something else was read"),
            _ => {}
        }
    }
}

#[test]
fn an_offset_that_was_not_there_before_a_reposition_is_not_told_of_the_new_position() {
    let scene = Scene::of_brokers(2);
    let cluster = &scene.cluster;
    cluster.partition_leader("others", 0, Some(1)).unwrap();
    cluster.partition_leader("orders", 0, Some(2)).unwrap();
    scene.publisher().fill(0, 5);
    let late = std::time::Duration::from_millis(300);
    cluster.broker_round_trip_time(2, late).unwrap();
    let (open, gate) = channel();
    let (reader, sees) = reader_behind(&scene, Some(gate));
    reader.read("orders", &[(0, 50)], 1);
    reader.read("others", &[(0, 0)], 1);
    // The reader waits in its sink, and what is said of offset 50 waits in its queue.
    while !matches!(sees.recv_timeout(PATIENCE), Ok(Seen::Applied(..))) {}
    std::thread::sleep(10 * late);
    reader.read("orders", &[(0, 0)], 2);
    open.send(()).unwrap();
    loop {
        match sees.recv_timeout(PATIENCE).expect("it is read") {
            Seen::OutOfRange(_) => panic!("offset 0 was said to be missing"),
            Seen::Applied(positions, 2) if positions.contains(&(0, 5)) => return,
            _ => {}
        }
    }
}

#[test]
fn a_stopped_partition_is_read_no_more_and_the_others_go_on() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    let (reader, sees) = reader(&scene);
    reader.read("orders", &[(0, 0), (1, 0)], 1);
    publishing.fill(0, 3);
    assert_eq!(read_to(&sees, 0, 3), [0, 1, 2]);
    reader.stop_reading("orders", 0);
    carried_out(&reader, &sees);
    publishing.fill(0, 2);
    publishing.fill(1, 2);
    let mut other = Vec::new();
    while other.len() < 2 {
        match sees.recv_timeout(PATIENCE).expect("something is read") {
            Seen::Record { partition: 0, .. } => panic!("it was stopped"),
            Seen::Record { offset, .. } => other.push(offset),
            _ => {}
        }
    }
}

/// A reader that has read three records of partition 0, and is at its end.
fn three_read() -> (Scene, Publishing, Reader, Receiver<Seen>) {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, 3);
    let (reader, sees) = reader(&scene);
    reader.read("orders", &[(0, 0)], 1);
    assert_eq!(read_to(&sees, 0, 3), [0, 1, 2]);
    (scene, publishing, reader, sees)
}

#[test]
fn what_comes_while_an_idle_partition_is_paused_is_read_after_it() {
    let (_scene, publishing, reader, sees) = three_read();
    // Its end was told, with nothing read behind it: the place to go on from is the end itself.
    settle();
    reader.pause("orders", 0, true);
    carried_out(&reader, &sees);
    publishing.fill(0, 2);
    settle();
    assert!(sees.try_recv().is_err(), "it is paused");
    reader.pause("orders", 0, false);
    assert_eq!(read_to(&sees, 0, 5), [3, 4]);
}

#[test]
fn a_partition_that_was_paused_when_it_was_stopped_is_read_when_it_comes_back() {
    let (_scene, _, reader, sees) = three_read();
    reader.pause("orders", 0, true);
    reader.stop_reading("orders", 0);
    reader.read("orders", &[(0, 1)], 2);
    assert_eq!(read_to(&sees, 0, 3), [1, 2]);
}

#[test]
fn a_partition_that_is_paused_before_anything_was_read_begins_where_it_was_to_begin() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, 6);
    let (reader, sees) = reader(&scene);
    reader.read("orders", &[(0, 2)], 1);
    reader.pause("orders", 0, true);
    carried_out(&reader, &sees);
    reader.read("orders", &[(0, 4)], 2);
    reader.pause("orders", 0, true);
    reader.pause("orders", 0, false);
    assert_eq!(read_to(&sees, 0, 6), [4, 5]);
}

#[test]
fn what_stands_still_below_its_end_is_assigned_anew_and_read_on_from_where_it_was() {
    let (scene, publishing, reader, sees) = three_read();
    assert_eq!(scene.trouble.recent(), None);
    // The client has no reason to believe that there is more; whoever asked the broker has.
    reader.told_ends("orders", &[(0, 5)]);
    let said = eventually("the standstill is told", PATIENCE, || {
        scene.trouble.recent()
    });
    assert!(said.contains("orders/0 at 3 of 5"), "{said}");
    // Nothing is read twice, and nothing left out.
    publishing.fill(0, 2);
    assert_eq!(read_to(&sees, 0, 5), [3, 4]);
}

/// Partition and offset.
type Place = (i32, i64);

type Answered = Receiver<(Place, FetchAnswer)>;

/// A fetcher whose tokens are the places themselves, and what it answers.
fn fetcher(scene: &Scene) -> (Fetcher<Place>, Answered) {
    let (answers, answered) = channel();
    let settings = scene.settings.reader("fetcher");
    let tell = move |found: Answers<Place>| {
        for each in found {
            let _ = answers.send(each);
        }
    };
    let fetcher = Fetcher::spawn(&settings, &scene.trouble, tell).expect("a fetcher");
    (fetcher, answered)
}

fn request(wanted: impl IntoIterator<Item = Place>) -> FetchRequest<Place> {
    let wanted = wanted.into_iter().map(|(partition, offset)| Wanted {
        token: (partition, offset),
        partition,
        offset,
    });
    FetchRequest {
        topic: "orders".into(),
        wanted: wanted.collect(),
    }
}

/// The next answer is a record, and the one that its token asked for.
fn found(answered: &Answered) -> Place {
    let ((partition, offset), answer) = answered.recv_timeout(PATIENCE).expect("an answer");
    let FetchAnswer::Record(record) = answer else {
        panic!("{partition}/{offset}: {answer:?}");
    };
    assert_eq!((record.partition, record.offset), (partition, offset));
    assert_eq!(record.value.as_deref(), Some(offset.to_string().as_bytes()));
    (partition, offset)
}

#[test]
fn single_records_are_fetched_at_their_offsets_and_what_is_not_there_is_told() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, 40);
    publishing.fill(1, 3);
    let (fetcher, answered) = fetcher(&scene);
    let wanted = [(0, 39), (0, 3), (1, 2), (0, 4)];
    fetcher.fetch(request(wanted));
    let all: BTreeSet<_> = wanted.iter().map(|_| found(&answered)).collect();
    assert_eq!(all, BTreeSet::from(wanted));
    // Behind the end, and at it.
    for offset in [1_000, 40] {
        fetcher.fetch(request([(0, offset)]));
        let (_, answer) = answered.recv_timeout(PATIENCE).expect("an answer");
        assert!(matches!(answer, FetchAnswer::Failed(_)), "{answer:?}");
    }
    // It goes on after that.
    fetcher.fetch(request([(0, 7)]));
    assert_eq!(found(&answered), (0, 7));
}

#[test]
fn neighbours_of_several_partitions_are_fetched_in_order_while_more_are_asked_for() {
    const MANY: i64 = 600;
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.fill(0, MANY as u64);
    publishing.fill(1, MANY as u64);
    let (fetcher, answered) = fetcher(&scene);
    // Backwards, so that it has to sort them; the rest when some are there: before, between and behind them.
    let even = |p: i32| (0..MANY / 2).rev().map(move |i| (p, 2 * i));
    let odd = |p: i32| (0..MANY / 2).map(move |i| (p, 2 * i + 1));
    fetcher.fetch(request(even(0).chain(even(1))));
    let first = found(&answered);
    assert_eq!(first.1, 0, "the lowest of its partition comes first");
    fetcher.fetch(request(odd(0).chain(odd(1))));
    let mut all = BTreeSet::from([first]);
    while all.len() < 2 * MANY as usize {
        assert!(all.insert(found(&answered)), "none is told twice");
    }
    fetcher.fetch(request([(1, 5), (1, 5)]));
    assert_eq!((found(&answered), found(&answered)), ((1, 5), (1, 5)));
}
