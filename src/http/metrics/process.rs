//! Metrics without a topic: the store, the rebuild, the build.

use std::fmt;
use std::iter::once;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::family::Family;
use crate::ports::Stats;

const STORE_SIZE: Family = Family {
    name: "store_size_bytes",
    help: "Bytes of the store on disk",
};
const STORE_TROUBLED: Family = Family {
    name: "store_troubled",
    help: "1 while no checkpoints are written, see /api/v1/stats for the reason",
};
const CHECKPOINT: Family = Family {
    name: "checkpoint_seconds",
    help: "Time that writing checkpoints took, sum and count",
};
const CHECKPOINT_LAST: Family = Family {
    name: "checkpoint_last_seconds",
    help: "Time that the last checkpoint took",
};
const READY: Family = Family {
    name: "ready",
    help: "1 once partitions are assigned and rebuilt",
};
const LIMIT: Family = Family {
    name: "outstanding_limit",
    help: "Outstanding messages at which source partitions pause (limits.max_outstanding)",
};

pub fn encode(stats: &Stats, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let alone = |n: u64| once((Vec::new(), n));
    STORE_SIZE.gauges(encoder, alone(stats.store_size_bytes))?;
    STORE_TROUBLED.gauges(encoder, alone(stats.store_trouble.is_some().into()))?;
    CHECKPOINT.sum(encoder, stats.checkpoint_seconds_sum, stats.checkpoints)?;
    CHECKPOINT_LAST.seconds(encoder, once((Vec::new(), stats.checkpoint_seconds_last)))?;
    READY.gauges(encoder, alone(stats.ready.into()))?;
    LIMIT.gauges(encoder, alone(stats.max_outstanding))?;
    encoder
        .encode_descriptor("build", "Which Ackwarden this is", None, MetricType::Info)?
        .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
}
