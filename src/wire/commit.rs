//! Metadata of an offset commit: E by ACK partition, and which cluster and topics it is about.
//!
//! Kafka keeps 4,096 bytes with an offset, and refuses the commit of a partition whose metadata is longer; so these are
//! 3,000 at most ([`METADATA_BYTES_MAX`]). What does not fit is rounded *down*: E only says where a replay of ACKs begins,
//! so that an earlier E costs time and a later one would cost messages. Metadata that cannot be read means "replay all
//! ACKs", never "all done".
//!
//! Invariants: for each partition, the decoded E is at most the encoded one (a partition that is not named counts as 0),
//! and equal to it wherever the exact numbers fit.
//!
//! # Format 2
//!
//! `a2:`, then base64 (URL-safe, no padding) of
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 × (varint, bytes) | cluster id, source topic id, ACK topic id, owner; empty: not known |
//! | varint | number of runs of neighbouring partitions |
//! | per run: 2 varints | partitions left out since the last run; length − 1 |
//! | varint | base: the least E; only if there is a run |
//! | 1 + 1 | shift; width: how many low bits were dropped, and how many bits each of the following has |
//! | ⌈n · width / 8⌉ | (E − base) >> shift of each partition, packed, the lowest bit first |
//! | 4 | CRC-32 of all before, little-endian |
//!
//! Format 1 (`a1:`) is the same without the owner; it is still read.
//!
//! Bits rather than a varint for each E: with a thousand ACK partitions a varint has no room for anything but its first
//! seven bits, and from 2,200 on for nothing at all, while this goes on with what bits there are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::varint;

/// Longest metadata that is written. A broker's default for `offset.metadata.max.bytes` is 4,096; the rest is room for brokers
/// that are set lower.
pub const METADATA_BYTES_MAX: usize = 3_000;
/// Longest cluster or topic id that is written; Kafka's have 22 bytes. A longer one is left out, not cut: a cut one would
/// look like another topic's.
pub const ID_BYTES_MAX: usize = 255;
/// More partitions than a topic can sensibly have; what is read never makes us keep more.
pub const PARTITIONS_MAX: usize = 100_000;

const PREFIX: &str = "a2:";
/// Without an owner.
const PREFIX_1: &str = "a1:";
const CRC_BYTES: usize = 4;
/// Bytes in front of base64, the checksum included.
const BODY_BYTES_MAX: usize = (METADATA_BYTES_MAX - PREFIX.len()) / 4 * 3;
/// Room for runs of partitions; gaps are rare, a partition is hardly ever deleted.
const RUNS_BYTES_MAX: usize = 600;

/// What goes with a committed low-water mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitMeta {
    /// E by ACK partition, ascending. A partition that is not named counts as 0.
    pub acks: Vec<(i32, i64)>,
    /// Empty: not known. The same for the topics, where a broker has no topic ids.
    pub cluster_id: String,
    pub source_topic_id: String,
    pub ack_topic_id: String,
    /// Whose process committed it: the id of its store, which only one process can have open. What is in flight for the
    /// partition can only be its.
    pub owner: String,
}

/// Why metadata cannot be read. In each case all ACKs are to be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitMetaError {
    #[error("the offset was committed without our metadata: by another program, or by hand")]
    NotOurs,
    #[error(
        "the metadata of the committed offset has a format that this version does not know: use a newer ackwarden"
    )]
    Newer,
    #[error("the metadata of the committed offset is damaged: {0}")]
    Damaged(&'static str),
}

/// The text to commit; at most [`METADATA_BYTES_MAX`] bytes of ASCII.
#[must_use]
pub fn encode(meta: &CommitMeta) -> String {
    let mut body = Vec::with_capacity(256);
    for id in [
        &meta.cluster_id,
        &meta.source_topic_id,
        &meta.ack_topic_id,
        &meta.owner,
    ] {
        let id = if id.len() <= ID_BYTES_MAX { id } else { "" };
        varint::push(&mut body, id.len() as u64);
        body.extend_from_slice(id.as_bytes());
    }
    push_acks(&mut body, &meta.acks);
    let crc = crc32fast::hash(&body);
    body.extend_from_slice(&crc.to_le_bytes());
    let mut text = String::with_capacity(PREFIX.len() + body.len() * 4 / 3 + 4);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&body, &mut text);
    text
}

/// # Errors
/// [`CommitMetaError`]: replay all ACKs.
pub fn decode(metadata: &[u8]) -> Result<CommitMeta, CommitMetaError> {
    let second = metadata.strip_prefix(PREFIX.as_bytes());
    let Some(text) = second.or_else(|| metadata.strip_prefix(PREFIX_1.as_bytes())) else {
        return Err(match metadata {
            [b'a', b'1'..=b'9', rest @ ..] if rest.iter().take(4).any(|b| *b == b':') => {
                CommitMetaError::Newer
            }
            _ => CommitMetaError::NotOurs,
        });
    };
    if metadata.len() > METADATA_BYTES_MAX {
        return Err(CommitMetaError::Damaged("too long"));
    }
    let body = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| CommitMetaError::Damaged("not base64"))?;
    let Some((mut body, crc)) = body.split_last_chunk::<CRC_BYTES>() else {
        return Err(CommitMetaError::Damaged("too short"));
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(CommitMetaError::Damaged("checksum"));
    }
    let mut id = || {
        let length = usize::try_from(varint::take(&mut body)?).ok()?;
        let (id, rest) = body.split_at_checked(length)?;
        body = rest;
        String::from_utf8(id.to_vec()).ok()
    };
    let ids = [id(), id(), id()];
    let [Some(cluster_id), Some(source_topic_id), Some(ack_topic_id)] = ids else {
        return Err(CommitMetaError::Damaged("ids"));
    };
    let owner = match second {
        Some(_) => id().ok_or(CommitMetaError::Damaged("owner"))?,
        None => String::new(),
    };
    let acks = take_acks(body).ok_or(CommitMetaError::Damaged("ACK positions"))?;
    Ok(CommitMeta {
        acks,
        cluster_id,
        source_topic_id,
        ack_topic_id,
        owner,
    })
}

fn push_acks(body: &mut Vec<u8>, acks: &[(i32, i64)]) {
    let (mut acks, mut runs) = runs(acks);
    let mut encoded_runs = encode_runs(&runs);
    if encoded_runs.len() > RUNS_BYTES_MAX {
        // The gaps are named as well, with 0, which is what a gap counts as.
        acks = filled(&acks);
        runs = vec![(0, acks.len() as u64)];
        encoded_runs = encode_runs(&runs);
    }
    body.append(&mut encoded_runs);
    let Some(base) = acks.iter().map(|(_, e)| *e).min() else {
        return;
    };
    varint::push(body, base);
    let deltas: Vec<u64> = acks.iter().map(|(_, e)| e - base).collect();
    let bits = deltas
        .iter()
        .max()
        .map_or(0, |most| 64 - most.leading_zeros());
    let room_bits = BODY_BYTES_MAX.saturating_sub(body.len() + 2 + CRC_BYTES) * 8;
    // At most 63, since E is an i64.
    let width = bits.min(u32::try_from(room_bits / deltas.len()).unwrap_or(u32::MAX));
    let shift = bits - width;
    body.push(shift as u8);
    body.push(width as u8);
    pack(body, deltas.iter().map(|d| d >> shift), width);
}

fn take_acks(mut body: &[u8]) -> Option<Vec<(i32, i64)>> {
    let body = &mut body;
    let mut partitions: Vec<i32> = Vec::new();
    let mut next = 0u64;
    for _ in 0..varint::take(body)? {
        let first = next.checked_add(varint::take(body)?)?;
        let last = first.checked_add(varint::take(body)?)?;
        if last - first >= PARTITIONS_MAX as u64 || last > i32::MAX as u64 {
            return None;
        }
        partitions.extend(first as i32..=last as i32);
        if partitions.len() > PARTITIONS_MAX {
            return None;
        }
        next = last + 1;
    }
    if partitions.is_empty() {
        return body.is_empty().then(Vec::new);
    }
    let base = varint::take(body)?;
    let [shift, width, packed @ ..] = body else {
        return None;
    };
    let (shift, width) = (u32::from(*shift), u32::from(*width));
    if shift + width > 63 || packed.len() != (partitions.len() * width as usize).div_ceil(8) {
        return None;
    }
    partitions
        .into_iter()
        .zip(unpack(packed, width))
        .map(|(partition, delta)| {
            let e = base.checked_add(delta << shift)?;
            Some((partition, i64::try_from(e).ok()?))
        })
        .collect()
}

/// E by partition, ascending, each once; and the runs, as (first, how many).
type Runs = (Vec<(u64, u64)>, Vec<(u64, u64)>);

fn runs(acks: &[(i32, i64)]) -> Runs {
    // What is no position is as if it were not named: 0.
    let mut sorted: Vec<(u64, u64)> = acks
        .iter()
        .filter_map(|(p, e)| Some((u64::try_from(*p).ok()?, u64::try_from(*e).ok()?)))
        .collect();
    // Of a partition that is named twice the least counts.
    sorted.sort_unstable();
    sorted.dedup_by_key(|(p, _)| *p);
    sorted.truncate(PARTITIONS_MAX);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (partition, _) in &sorted {
        match runs.last_mut() {
            Some((first, length)) if *first + *length == *partition => *length += 1,
            _ => runs.push((*partition, 1)),
        }
    }
    (sorted, runs)
}

fn encode_runs(runs: &[(u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::push(&mut out, runs.len() as u64);
    let mut next = 0;
    for (first, length) in runs {
        varint::push(&mut out, first - next);
        varint::push(&mut out, length - 1);
        next = first + length;
    }
    out
}

/// From partition 0 on without a gap, as far as the bound goes.
fn filled(sorted: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut filled = Vec::new();
    for (partition, e) in sorted {
        if *partition >= PARTITIONS_MAX as u64 {
            break;
        }
        filled.extend((filled.len() as u64..*partition).map(|gap| (gap, 0)));
        filled.push((*partition, *e));
    }
    filled
}

fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut pending, mut bits) = (0u128, 0);
    for value in values {
        pending |= u128::from(value) << bits;
        bits += width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(pending as u8);
    }
}

/// Without end; zeros behind the last byte.
fn unpack(packed: &[u8], width: u32) -> impl Iterator<Item = u64> {
    let (mut pending, mut bits) = (0u128, 0);
    let mut bytes = packed.iter().copied().chain(std::iter::repeat(0));
    std::iter::repeat_with(move || {
        while bits < width {
            pending |= u128::from(bytes.next().unwrap_or(0)) << bits;
            bits += 8;
        }
        let value = (pending & ((1u128 << width) - 1)) as u64;
        pending >>= width;
        bits -= width;
        value
    })
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
