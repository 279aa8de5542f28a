//! Writing one family: a name, a help text, then its samples.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::core::view::Histogram;

/// Labels of one sample; each name a constant.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The family's name without prefix, and what it says.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
}

impl Family {
    /// `_total` is appended to the name.
    pub fn counters<'a>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        samples: impl Iterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        self.each(encoder, MetricType::Counter, samples, |encoder, n| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&n, None)
        })
    }

    pub fn gauges<'a>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        samples: impl Iterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        self.each(encoder, MetricType::Gauge, samples, |encoder, n| {
            // The format's integers are signed.
            encoder.encode_gauge(&i64::try_from(n).unwrap_or(i64::MAX))
        })
    }

    pub fn seconds<'a>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        samples: impl Iterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        self.each(encoder, MetricType::Gauge, samples, |encoder, s| {
            encoder.encode_gauge(&s)
        })
    }

    /// In seconds. The last of the core's buckets holds what is beyond the others.
    pub fn histograms<'a>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        samples: impl Iterator<Item = (Labels<'a>, &'a Histogram)>,
    ) -> fmt::Result {
        self.each(encoder, MetricType::Histogram, samples, |encoder, h| {
            let last = h.buckets.len() - 1;
            let buckets: Vec<(f64, u64)> = h
                .buckets
                .iter()
                .enumerate()
                .map(|(i, n)| {
                    (
                        if i == last {
                            f64::MAX
                        } else {
                            bound_seconds(i)
                        },
                        *n,
                    )
                })
                .collect();
            encoder.encode_histogram::<NoLabelSet>(
                h.sum_ms as f64 / 1000.0,
                h.count,
                &buckets,
                None,
            )
        })
    }

    /// A sum and a count alone, as a histogram with one bucket.
    pub fn sum(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        sum_seconds: f64,
        count: u64,
    ) -> fmt::Result {
        self.descriptor(encoder, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum_seconds, count, &[(f64::MAX, count)], None)
    }

    fn each<'a, T>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        kind: MetricType,
        samples: impl Iterator<Item = (Labels<'a>, T)>,
        write: impl Fn(&mut MetricEncoder<'_>, T) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.descriptor(encoder, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                write(&mut family, value)?;
            } else {
                write(&mut family.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }

    fn descriptor<'e>(
        self,
        encoder: &'e mut DescriptorEncoder<'_>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'e>, fmt::Error> {
        encoder.encode_descriptor(self.name, self.help, None, kind)
    }
}

/// 2^i ms.
fn bound_seconds(i: usize) -> f64 {
    (1_u64 << i) as f64 / 1000.0
}
