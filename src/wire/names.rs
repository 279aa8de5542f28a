//! Names of the headers that are ours. They are part of the contract with users: a name never changes its meaning.

/// Every header of ours begins so.
pub const PREFIX: &str = "ackwarden-";

/// The id of the message: its label, or the position of its original. On an ACK record: the id or position that is
/// acknowledged.
pub const MESSAGE_ID: &str = "ackwarden-message-id";
/// The number of the delivery; the original was 1. On an ACK record: an echo of it.
pub const ATTEMPT: &str = "ackwarden-attempt";
/// `topic/partition/offset` of the original.
pub const ORIGIN: &str = "ackwarden-origin";
/// Timestamp of the original, ms since the epoch.
pub const ORIGIN_TIMESTAMP: &str = "ackwarden-origin-timestamp";
/// Positions of the deliveries between the original and this one, commas between.
pub const DELIVERIES: &str = "ackwarden-deliveries";
/// Why this delivery, or this dead letter, was made.
pub const CAUSE: &str = "ackwarden-cause";
/// `cluster-id/group-id` of the coordinator that wrote the record.
pub const GROUP: &str = "ackwarden-group";

/// On a source message: its own timeout.
pub const TIMEOUT: &str = "ackwarden-timeout";

/// On an ACK record: the source topic that an id belongs to.
pub const TOPIC: &str = "ackwarden-topic";
/// On an ACK record: what is to become of the message; `ack` where there is none.
pub const VERDICT: &str = "ackwarden-verdict";
/// On an ACK record: how long to wait.
pub const DELAY: &str = "ackwarden-delay";
/// On an ACK record and on a dead letter: text of whoever decided.
pub const REASON: &str = "ackwarden-reason";
/// On an ACK record: who says so. On a decision record: the operator.
pub const BY: &str = "ackwarden-by";
/// On a settlement record: the position of the dead letter.
pub const DEAD_LETTER: &str = "ackwarden-dead-letter";

/// On a dead letter without its payload: the position where the payload stood.
pub const PAYLOAD_POSITION: &str = "ackwarden-payload-position";
/// On a dead letter without its payload: bytes of its key and value.
pub const PAYLOAD_LENGTH: &str = "ackwarden-payload-length";
/// On a dead letter without its payload: `xxh3:` and 16 hex digits, the digest of key and value.
pub const PAYLOAD_DIGEST: &str = "ackwarden-payload-digest";
/// On a dead letter without its payload: how many of the message's own headers were too large to be carried.
pub const PAYLOAD_HEADERS_DROPPED: &str = "ackwarden-payload-headers-dropped";

/// On a redriven message: the position of the dead letter.
pub const REDRIVEN_FROM: &str = "ackwarden-redriven-from";

/// What a copy carries of its own: replaced wherever they stood, in this order at the end.
pub const ON_COPIES: [&str; 7] = [
    MESSAGE_ID,
    ATTEMPT,
    ORIGIN,
    ORIGIN_TIMESTAMP,
    DELIVERIES,
    CAUSE,
    GROUP,
];

/// What only dead letters carry beside these.
pub const ON_DEAD_LETTERS: [&str; 5] = [
    REASON,
    PAYLOAD_POSITION,
    PAYLOAD_LENGTH,
    PAYLOAD_DIGEST,
    PAYLOAD_HEADERS_DROPPED,
];
