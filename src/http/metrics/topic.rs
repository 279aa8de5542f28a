//! Metrics by topic.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::family::{Family, Labels};
use super::{Row, Snapshot};
use crate::core::effect::DeadLetterCause;
use crate::core::view::{Counters, FrozenWhy, State, VerdictResult};
use crate::core::{CauseKind, Verdict};
use crate::http::text::cause_kind;

const fn family(name: &'static str, help: &'static str) -> Family {
    Family { name, help }
}

/// Counters with no label but the topic.
type Plain = (Family, fn(&Counters) -> u64);
const PLAIN: [Plain; 7] = [
    (
        family("messages_tracked", "Messages seen and tracked"),
        |c| c.tracked,
    ),
    (
        family("messages_acked", "Messages settled by an ACK"),
        |c| c.acked,
    ),
    (
        family(
            "ids_reused",
            "Messages whose id another message had while its ACK was known",
        ),
        |c| c.ids_reused,
    ),
    (
        family(
            "ids_fell_back",
            "Messages that an entry of the id list could not name, so that the next one did",
        ),
        |c| c.ids_fell_back,
    ),
    (
        family(
            "bad_timeouts",
            "Messages whose ackwarden-timeout header is no duration",
        ),
        |c| c.bad_timeouts,
    ),
    (
        family(
            "unfaithful_messages",
            "Messages that cannot be republished as they are, because of a header name",
        ),
        |c| c.unfaithful,
    ),
    (
        family(
            "lost_ranges",
            "Ranges of records or ACKs that were gone before they were read",
        ),
        |c| c.lost_ranges,
    ),
];

const REPUBLISHED: Family = family("messages_republished", "Copies written, by cause");
const DEAD_LETTERED: Family = family("messages_dead_lettered", "Dead letters written, by cause");
const VERDICTS: Family = family(
    "verdicts",
    "Records read from the ACK topic, by verdict and by what became of them",
);
const OUTSTANDING: Family = family(
    "outstanding_messages",
    "Messages that are not settled, by state",
);
const OLDEST: Family = family(
    "oldest_outstanding_age_seconds",
    "Age of the oldest message that is not settled; 0 when there is none",
);
const ACK_LATENCY: Family = family(
    "ack_latency_seconds",
    "From a message's arrival to the ACK that settled it",
);
const LATENESS: Family = family(
    "retry_lateness_seconds",
    "From a deadline to the moment when the copy was durable",
);
const FROZEN: Family = family(
    "frozen",
    "1 while the topic, or a part of it, is not retried, by reason",
);
const LOW_AGE: Family = family(
    "low_water_mark_age_seconds",
    "How long the low-water mark of the topic's slowest partition has stood still; 0 when nothing pins it",
);
const RETENTION: Family = family(
    "retention_left_seconds",
    "Time until retention reaches the low-water mark; NaN when it is endless or cannot be checked",
);
const LAG: Family = family(
    "consumer_lag_messages",
    "Source records in Kafka that Ackwarden has not read yet",
);

/// The verdict label of what is not known as one.
const VERDICT_OTHER: &str = "other";

pub fn encode(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    counters(snapshot, encoder)?;
    gauges(snapshot, encoder)?;
    ACK_LATENCY.histograms(encoder, each(snapshot, |c| &c.ack_latency_ms))?;
    LATENESS.histograms(encoder, each(snapshot, |c| &c.retry_lateness_ms))
}

fn counters(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (family, count) in PLAIN {
        family.counters(encoder, each(snapshot, count))?;
    }
    let rows = || snapshot.topics.iter();
    REPUBLISHED.counters(
        encoder,
        rows().flat_map(|row| {
            let counters = snapshot.counters(row);
            [CauseKind::Timeout, CauseKind::Nack, CauseKind::Operator].map(|kind| {
                let labels = with(row, "cause", cause_kind(kind));
                (labels, counters.republished_by(kind))
            })
        }),
    )?;
    DEAD_LETTERED.counters(
        encoder,
        rows().flat_map(|row| {
            let counts = snapshot.counters(row).dead_lettered;
            DeadLetterCause::ALL
                .into_iter()
                .zip(counts)
                .map(|(cause, n)| (with(row, "cause", cause.as_str()), n))
        }),
    )?;
    VERDICTS.counters(encoder, rows().flat_map(|row| verdicts(snapshot, row)))
}

/// Every verdict with every result.
fn verdicts<'a>(
    snapshot: &'a Snapshot,
    row: &'a Row,
) -> impl Iterator<Item = (Labels<'a>, u64)> + 'a {
    let names = Verdict::ALL
        .into_iter()
        .map(Verdict::as_str)
        .chain([VERDICT_OTHER]);
    let counts = snapshot.counters(row).verdicts;
    names.zip(counts).flat_map(move |(verdict, by_result)| {
        VerdictResult::ALL
            .into_iter()
            .zip(by_result)
            .map(move |(result, n)| {
                let mut labels = with(row, "verdict", verdict);
                labels.push(("result", result.as_str()));
                (labels, n)
            })
    })
}

fn gauges(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Snapshot { topics, stats, .. } = snapshot;
    OUTSTANDING.gauges(
        encoder,
        topics.iter().flat_map(|row| {
            let counts = row.view.as_ref().map_or([0; 5], |v| v.counts);
            State::UNSETTLED
                .into_iter()
                .zip(counts)
                .map(|(state, n)| (with(row, "state", state.as_str()), n))
        }),
    )?;
    OLDEST.seconds(
        encoder,
        topics.iter().map(|row| {
            let age_ms = row.view.as_ref().and_then(|v| v.oldest_age_ms);
            (of(row), seconds(age_ms.unwrap_or(0)))
        }),
    )?;
    FROZEN.gauges(
        encoder,
        topics.iter().flat_map(|row| {
            FrozenWhy::ALL
                .into_iter()
                .map(|why| (with(row, "why", why.as_str()), is_frozen(row, why).into()))
        }),
    )?;
    LOW_AGE.seconds(
        encoder,
        topics.iter().map(|row| (of(row), seconds(low_age_ms(row)))),
    )?;
    RETENTION.seconds(
        encoder,
        topics.iter().enumerate().map(|(ix, row)| {
            let left = stats.retention_left_seconds.get(ix).copied().flatten();
            (of(row), left.unwrap_or(f64::NAN))
        }),
    )?;
    LAG.gauges(
        encoder,
        topics.iter().enumerate().map(|(ix, row)| {
            let lag = stats.consumer_lag.get(ix).copied();
            (of(row), lag.unwrap_or(0))
        }),
    )
}

/// One sample for each topic.
fn each<'a, T>(
    snapshot: &'a Snapshot,
    value: impl Fn(&'a Counters) -> T + 'a,
) -> impl Iterator<Item = (Labels<'a>, T)> + 'a {
    snapshot
        .topics
        .iter()
        .map(move |row| (of(row), value(snapshot.counters(row))))
}

fn of(row: &Row) -> Labels<'_> {
    vec![("topic", &row.name)]
}

fn with<'a>(row: &'a Row, label: &'static str, value: &'static str) -> Labels<'a> {
    vec![("topic", &row.name), (label, value)]
}

fn is_frozen(row: &Row, why: FrozenWhy) -> bool {
    row.view
        .as_ref()
        .is_some_and(|view| view.frozen.iter().any(|f| f.why == why))
}

fn low_age_ms(row: &Row) -> u64 {
    let partitions = row.view.iter().flat_map(|view| &view.partitions);
    partitions.map(|p| p.low_age_ms).max().unwrap_or(0)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
