//! The stable codes of problem documents, each with its status and title.
//!
//! `docs/api.md` lists them; a test holds the two together.

use axum::http::StatusCode;

/// What every client may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BadParameter,
    BadPosition,
    BadBody,
    HostNotAllowed,
    OriginNotAllowed,
    UnknownRoute,
    UnknownTopic,
    UnknownPartition,
    OtherInstance,
    UnknownMessage,
    WrongMethod,
    BodyTooSlow,
    NotAllowed,
    ReadOnly,
    PayloadGone,
    BodyTooLarge,
    NotJson,
    BadField,
    BadPolicy,
    Internal,
    NotBuiltYet,
    Kafka,
    Recovering,
    Busy,
    Stopping,
    UnknownOutcome,
    NoAnswer,
}

impl Code {
    pub const ALL: [Self; 27] = [
        Self::BadParameter,
        Self::BadPosition,
        Self::BadBody,
        Self::HostNotAllowed,
        Self::OriginNotAllowed,
        Self::UnknownRoute,
        Self::UnknownTopic,
        Self::UnknownPartition,
        Self::OtherInstance,
        Self::UnknownMessage,
        Self::WrongMethod,
        Self::BodyTooSlow,
        Self::NotAllowed,
        Self::ReadOnly,
        Self::PayloadGone,
        Self::BodyTooLarge,
        Self::NotJson,
        Self::BadField,
        Self::BadPolicy,
        Self::Internal,
        Self::NotBuiltYet,
        Self::Kafka,
        Self::Recovering,
        Self::Busy,
        Self::Stopping,
        Self::UnknownOutcome,
        Self::NoAnswer,
    ];

    /// The `code` member.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The `title` member: the same for every problem of this code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadParameter => (
                "bad-parameter",
                S::BAD_REQUEST,
                "A query parameter is wrong",
            ),
            Self::BadPosition => ("bad-position", S::BAD_REQUEST, "That is not a position"),
            Self::BadBody => ("bad-body", S::BAD_REQUEST, "The body cannot be read"),
            Self::HostNotAllowed => (
                "host-not-allowed",
                S::FORBIDDEN,
                "The Host header names another host",
            ),
            Self::OriginNotAllowed => (
                "origin-not-allowed",
                S::FORBIDDEN,
                "A page of another origin may not change anything",
            ),
            Self::UnknownRoute => ("unknown-route", S::NOT_FOUND, "There is no such call"),
            Self::UnknownTopic => ("unknown-topic", S::NOT_FOUND, "The topic is not tracked"),
            Self::UnknownPartition => (
                "unknown-partition",
                S::NOT_FOUND,
                "The topic has no such partition",
            ),
            Self::OtherInstance => (
                "other-instance",
                S::NOT_FOUND,
                "Another instance tracks this partition",
            ),
            Self::UnknownMessage => (
                "unknown-message",
                S::NOT_FOUND,
                "No message to act upon at this position",
            ),
            Self::WrongMethod => (
                "wrong-method",
                S::METHOD_NOT_ALLOWED,
                "The call exists, but not with this method",
            ),
            Self::BodyTooSlow => (
                "body-too-slow",
                S::REQUEST_TIMEOUT,
                "The body did not arrive in time",
            ),
            Self::NotAllowed => (
                "not-allowed",
                S::CONFLICT,
                "The message's state does not allow it",
            ),
            Self::ReadOnly => (
                "read-only",
                S::CONFLICT,
                "Nothing is written for this topic",
            ),
            Self::PayloadGone => (
                "payload-gone",
                S::GONE,
                "The payload cannot be had (any more)",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                S::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::NotJson => (
                "not-json",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body is not declared as JSON",
            ),
            Self::BadField => (
                "bad-field",
                S::UNPROCESSABLE_ENTITY,
                "A field of the body is wrong",
            ),
            Self::BadPolicy => (
                "bad-policy",
                S::UNPROCESSABLE_ENTITY,
                "The policy cannot be changed like that",
            ),
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "Ackwarden made a mistake",
            ),
            Self::NotBuiltYet => ("not-built-yet", S::NOT_IMPLEMENTED, "Not built yet"),
            Self::Kafka => (
                "kafka",
                S::BAD_GATEWAY,
                "Kafka refused it or did not answer",
            ),
            Self::Recovering => (
                "recovering",
                S::SERVICE_UNAVAILABLE,
                "State is being rebuilt from Kafka",
            ),
            Self::Busy => (
                "busy",
                S::SERVICE_UNAVAILABLE,
                "Too many calls are under way",
            ),
            Self::Stopping => ("stopping", S::SERVICE_UNAVAILABLE, "Ackwarden is stopping"),
            Self::UnknownOutcome => (
                "unknown-outcome",
                S::GATEWAY_TIMEOUT,
                "Whether the change is durable is not known",
            ),
            Self::NoAnswer => (
                "no-answer",
                S::GATEWAY_TIMEOUT,
                "The coordinator did not answer in time",
            ),
        }
    }
}
