//! Messages with a history, several neighbours in one body. Places and times are differences from the message's own.

use super::StoredError;
use super::bytes::{Reader, Writer};
use crate::core::image::{DeliveryImage, DetailImage, DetailState, VerdictImage};
use crate::core::{Cause, CauseKind, LogPosition, Verdict};

/// No detail is shorter, bytes.
const DETAIL_BYTES_MIN: usize = 19;
/// No delivery is shorter, bytes.
const DELIVERY_BYTES_MIN: usize = 4;

const HAS_ID: u8 = 1;
const HAS_DUE: u8 = 1 << 1;
const HAS_TIMEOUT: u8 = 1 << 2;
const HAS_VERDICT: u8 = 1 << 3;
const UNFAITHFUL: u8 = 1 << 4;
const FLAGS: u8 = (1 << 5) - 1;

const VERDICT_HAS_DELAY: u8 = 1;
const VERDICT_HAS_REASON: u8 = 1 << 1;

/// The body of neighbouring details. If they are not strictly ascending by origin, it does not decode again.
#[must_use]
pub fn encode_details<'a>(
    details: impl IntoIterator<Item = &'a DetailImage, IntoIter: ExactSizeIterator>,
) -> Vec<u8> {
    let details = details.into_iter();
    let mut w = Writer::with_capacity(8 + details.len() * 80);
    w.count(details.len());
    let mut origin_before = 0;
    for detail in details {
        w.delta(detail.origin, origin_before);
        origin_before = detail.origin;
        put_detail(&mut w, detail);
    }
    w.into_bytes()
}

/// Reads what [`encode_details`] wrote.
///
/// # Errors
/// [`StoredError::Malformed`].
pub fn decode_details(body: &[u8]) -> Result<Vec<DetailImage>, StoredError> {
    let mut r = Reader::new(body);
    let count = r.count(DETAIL_BYTES_MIN)?;
    let mut details: Vec<DetailImage> = Vec::with_capacity(count);
    let mut origin_before = 0;
    for _ in 0..count {
        let origin = r.delta(origin_before)?;
        if details.last().is_some_and(|last| last.origin >= origin) {
            return Err(StoredError::Malformed("origins out of order"));
        }
        origin_before = origin;
        details.push(take_detail(&mut r, origin)?);
    }
    r.end()?;
    Ok(details)
}

fn put_detail(w: &mut Writer, detail: &DetailImage) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    w.byte(
        flag(detail.id.is_some(), HAS_ID)
            | flag(detail.due_in_ms.is_some(), HAS_DUE)
            | flag(detail.timeout_ms.is_some(), HAS_TIMEOUT)
            | flag(detail.verdict.is_some(), HAS_VERDICT)
            | flag(detail.unfaithful, UNFAITHFUL),
    );
    w.byte(state_code(detail.state));
    w.signed(detail.seen_wall_ms);
    w.delta(detail.origin_timestamp_ms, detail.seen_wall_ms);
    w.unsigned(u64::from(detail.len));
    w.fixed(detail.digest);
    w.unsigned(u64::from(detail.attempt));
    w.unsigned(u64::from(detail.unaccounted));
    w.unsigned(u64::from(detail.pending_attempt));
    w.unsigned(detail.extended_ms);
    w.count(detail.deliveries.len());
    for delivery in &detail.deliveries {
        w.unsigned(u64::from(delivery.attempt));
        w.delta(delivery.offset, detail.origin);
        w.delta(delivery.at_wall_ms, detail.seen_wall_ms);
        put_cause(w, delivery.cause);
    }
    if let Some(id) = &detail.id {
        w.text(id);
    }
    if let Some(due_in_ms) = detail.due_in_ms {
        w.signed(due_in_ms);
    }
    if let Some(timeout_ms) = detail.timeout_ms {
        w.unsigned(timeout_ms);
    }
    if let Some(verdict) = &detail.verdict {
        put_verdict(w, verdict);
    }
}

fn take_detail(r: &mut Reader<'_>, origin: i64) -> Result<DetailImage, StoredError> {
    let flags = r.byte()?;
    if flags & !FLAGS != 0 {
        return Err(StoredError::Malformed("unknown flags of a detail"));
    }
    let has = |bit: u8| flags & bit != 0;
    let state = state_of(r.byte()?)?;
    let seen_wall_ms = r.signed()?;
    let origin_timestamp_ms = r.delta(seen_wall_ms)?;
    let len = r.narrow()?;
    let digest = r.fixed()?;
    let attempt = r.narrow()?;
    let unaccounted = r.narrow()?;
    let pending_attempt = r.narrow()?;
    let extended_ms = r.unsigned()?;
    let count = r.count(DELIVERY_BYTES_MIN)?;
    let mut deliveries = Vec::with_capacity(count);
    for _ in 0..count {
        deliveries.push(DeliveryImage {
            attempt: r.narrow()?,
            offset: r.delta(origin)?,
            at_wall_ms: r.delta(seen_wall_ms)?,
            cause: take_cause(r)?,
        });
    }
    Ok(DetailImage {
        origin,
        origin_timestamp_ms,
        id: has(HAS_ID).then(|| r.text().map(Box::from)).transpose()?,
        seen_wall_ms,
        len,
        digest,
        attempt,
        deliveries,
        unaccounted,
        pending_attempt,
        due_in_ms: has(HAS_DUE).then(|| r.signed()).transpose()?,
        extended_ms,
        timeout_ms: has(HAS_TIMEOUT).then(|| r.unsigned()).transpose()?,
        state,
        verdict: has(HAS_VERDICT).then(|| take_verdict(r)).transpose()?,
        unfaithful: has(UNFAITHFUL),
    })
}

fn put_position(w: &mut Writer, at: LogPosition) {
    w.signed(i64::from(at.partition));
    w.signed(at.offset);
}

fn take_position(r: &mut Reader<'_>) -> Result<LogPosition, StoredError> {
    let partition = i32::try_from(r.signed()?)
        .map_err(|_| StoredError::Malformed("a partition out of range"))?;
    Ok(LogPosition::new(partition, r.signed()?))
}

/// 0: none; else the kind's code, and 8 more where the record that asked for it follows.
fn put_cause(w: &mut Writer, cause: Option<Cause>) {
    let Some(cause) = cause else {
        w.byte(0);
        return;
    };
    let kind = match cause.kind {
        CauseKind::Timeout => 1,
        CauseKind::Nack => 2,
        CauseKind::Operator => 3,
    };
    match cause.record {
        None => w.byte(kind),
        Some(at) => {
            w.byte(kind + 8);
            put_position(w, at);
        }
    }
}

fn take_cause(r: &mut Reader<'_>) -> Result<Option<Cause>, StoredError> {
    let code = r.byte()?;
    let kind = match code & !8 {
        0 if code == 0 => return Ok(None),
        1 => CauseKind::Timeout,
        2 => CauseKind::Nack,
        3 => CauseKind::Operator,
        _ => return Err(StoredError::Malformed("an unknown cause")),
    };
    let record = (code & 8 != 0).then(|| take_position(r)).transpose()?;
    Ok(Some(Cause { kind, record }))
}

fn put_verdict(w: &mut Writer, image: &VerdictImage) {
    w.byte(verdict_code(image.verdict));
    w.byte(
        if image.delay_ms.is_some() {
            VERDICT_HAS_DELAY
        } else {
            0
        } | if image.reason.is_some() {
            VERDICT_HAS_REASON
        } else {
            0
        },
    );
    put_position(w, image.at);
    if let Some(delay_ms) = image.delay_ms {
        w.unsigned(delay_ms);
    }
    if let Some(reason) = &image.reason {
        w.text(reason);
    }
}

fn take_verdict(r: &mut Reader<'_>) -> Result<VerdictImage, StoredError> {
    let verdict = verdict_of(r.byte()?)?;
    let flags = r.byte()?;
    if flags & !(VERDICT_HAS_DELAY | VERDICT_HAS_REASON) != 0 {
        return Err(StoredError::Malformed("unknown flags of a verdict"));
    }
    Ok(VerdictImage {
        verdict,
        at: take_position(r)?,
        delay_ms: (flags & VERDICT_HAS_DELAY != 0)
            .then(|| r.unsigned())
            .transpose()?,
        reason: (flags & VERDICT_HAS_REASON != 0)
            .then(|| r.text().map(Box::from))
            .transpose()?,
    })
}

const fn state_code(state: DetailState) -> u8 {
    match state {
        DetailState::Outstanding => 0,
        DetailState::Overdue => 1,
        DetailState::Parked => 2,
        DetailState::Acked => 3,
        DetailState::OperatorAcked => 4,
        DetailState::Dead => 5,
        DetailState::PayloadLost => 6,
        DetailState::Missed => 7,
    }
}

const fn state_of(code: u8) -> Result<DetailState, StoredError> {
    Ok(match code {
        0 => DetailState::Outstanding,
        1 => DetailState::Overdue,
        2 => DetailState::Parked,
        3 => DetailState::Acked,
        4 => DetailState::OperatorAcked,
        5 => DetailState::Dead,
        6 => DetailState::PayloadLost,
        7 => DetailState::Missed,
        _ => return Err(StoredError::Malformed("an unknown state")),
    })
}

const fn verdict_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ack => 0,
        Verdict::Nack => 1,
        Verdict::Reject => 2,
        Verdict::Extend => 3,
        Verdict::OperatorAck => 4,
        Verdict::OperatorNack => 5,
        Verdict::OperatorExtend => 6,
        Verdict::OperatorRetry => 7,
        Verdict::OperatorDeadLetter => 8,
        Verdict::DeadLettered => 9,
        Verdict::PayloadLost => 10,
    }
}

fn verdict_of(code: u8) -> Result<Verdict, StoredError> {
    Verdict::ALL
        .into_iter()
        .find(|&verdict| verdict_code(verdict) == code)
        .ok_or(StoredError::Malformed("an unknown verdict"))
}

#[cfg(test)]
#[path = "detail_tests.rs"]
mod tests;
