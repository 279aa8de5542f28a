//! `GET /messages` and `GET /messages/{topic}/{partition}/{offset}`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::ApiState;
use super::cursor;
use super::directory::Directory;
use super::params::{Params, limit};
use super::path::At;
use super::problem::{Code, Problem};
use super::text;
use crate::clock;
use crate::config::duration::parse_duration_ms;
use crate::core::view::{
    Lookup, MessageDetail, MessageFilter, MessagePage, MessageView, State as MessageState,
};
use crate::core::{LogPosition, TopicIx};
use crate::ports::ApiRequest;
use crate::wire;

/// Messages on a page, unless asked otherwise.
const LIMIT_DEFAULT: usize = 50;
/// A page is built by the coordinator between two batches: this keeps it short.
pub const LIMIT_MAX: usize = 500;

/// No message is older or due later; keeps sums of times far from the end of their range.
const AGE_MS_MAX: u64 = 100 * 366 * 24 * 3_600_000;

const PARAMETERS: [&str; 9] = [
    "topic",
    "state",
    "id",
    "min_attempt",
    "older_than",
    "due_within",
    "order",
    "limit",
    "cursor",
];

pub async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let directory = &state.directory;
    let filter = filter(&uri, directory)?;
    let digest = cursor::digest(&filter, directory);
    let page = match position_named_by(&filter, directory) {
        Some((topic, at)) => at_position(&state, &filter, topic, at).await?,
        None => {
            state
                .backend
                .read(|reply| ApiRequest::Messages { filter, reply })
                .await??
        }
    };
    let messages: Vec<Value> = page
        .messages
        .iter()
        .map(|m| Value::Object(message_json(m, directory)))
        .collect();
    Ok(Json(json!({
        "messages": messages,
        "next_cursor": page.next.map(|next| cursor::to_text(next, digest)),
        "partial": page.partial,
    })))
}

pub async fn one(
    State(state): State<ApiState>,
    At { topic, at }: At,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    let name = state.directory.name(topic);
    let alone = |kept_as: &str| json!({"position": text::position(name, at), "state": kept_as});
    let found = match look_up_here(&state, topic, at).await? {
        Lookup::Found(detail) => detail_json(&detail, &state.directory),
        Lookup::Settled => alone("settled"),
        _ => alone("untracked"),
    };
    Ok(Json(found))
}

/// What is known of a position, in a partition that is tracked here.
pub(super) async fn look_up_here(
    state: &ApiState,
    topic: TopicIx,
    at: LogPosition,
) -> Result<Lookup, Problem> {
    match look_up(state, topic, at).await? {
        found @ (Lookup::Found(_) | Lookup::Settled | Lookup::Untracked) => Ok(found),
        Lookup::NoSuchPartition => Err(no_such_partition()),
        Lookup::Rebuilding => Err(Problem::recovering(None)),
        Lookup::Elsewhere => Err(Problem::new(
            Code::OtherInstance,
            "the group gave this partition to another instance of Ackwarden: ask that one (kafka-consumer-groups \
             --describe --group shows which it is)",
        )),
    }
}

async fn look_up(state: &ApiState, topic: TopicIx, at: LogPosition) -> Result<Lookup, Problem> {
    Ok(state
        .backend
        .read(|reply| ApiRequest::Message { topic, at, reply })
        .await??)
}

fn no_such_partition() -> Problem {
    Problem::new(
        Code::UnknownPartition,
        "the topic has no such partition, as far as is known (metadata is refreshed every 10 s)",
    )
}

// ------------------------------------------------------------------------------------------------------- the filter

fn filter(uri: &Uri, directory: &Directory) -> Result<MessageFilter, Problem> {
    let mut params = Params::of(uri, &PARAMETERS)?;
    let mut unknown_topic = None;
    let mut filter = MessageFilter {
        topic: params.take("topic", |name| {
            directory.topic(name).ok_or_else(|| {
                let detail = format!("is not tracked; {}", directory.tracked());
                unknown_topic = Some(detail.clone());
                detail
            })
        }),
        states: params.take("state", states).unwrap_or_default(),
        id: params.take("id", |id| {
            wire::text::id(id.as_bytes())
                .map(Into::into)
                .ok_or_else(|| format!("must have 1 to {} bytes", wire::text::ID_BYTES_MAX))
        }),
        min_attempt: params.take("min_attempt", min_attempt).unwrap_or(0),
        older_than_ms: params.take("older_than", age_ms),
        due_within_ms: params.take("due_within", age_ms),
        newest_first: params
            .take("order", |order| match order {
                "oldest" => Ok(false),
                "newest" => Ok(true),
                _ => Err("must be oldest or newest".to_owned()),
            })
            .unwrap_or(false),
        limit: params
            .take("limit", |n| limit(n, LIMIT_MAX))
            .unwrap_or(LIMIT_DEFAULT),
        cursor: None,
    };
    let digest = cursor::digest(&filter, directory);
    // The other mistakes first: a cursor is bound to them, and would only say so in other words.
    if params.is_good() {
        filter.cursor = params.take("cursor", |text| cursor::from_text(text, digest));
    }
    match (params.finish(), unknown_topic) {
        (Ok(()), _) => Ok(filter),
        (Err(problem), Some(detail)) if problem.errors().len() == 1 => {
            Err(Problem::new(Code::UnknownTopic, format!("topic: {detail}")))
        }
        (Err(problem), _) => Err(problem),
    }
}

/// One state or several with commas between, each once, in the contract's order: so one set is one filter.
fn states(text: &str) -> Result<Vec<MessageState>, String> {
    let asked: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(unknown) = asked
        .iter()
        .find(|a| MessageState::ALL.iter().all(|s| s.as_str() != **a))
    {
        let all = MessageState::ALL.map(MessageState::as_str).join(", ");
        let settled = if *unknown == "settled" {
            "settled is not one state; "
        } else {
            ""
        };
        return Err(format!(
            "{settled}must be one or several, with commas between, of {all}"
        ));
    }
    Ok(MessageState::ALL
        .into_iter()
        .filter(|s| asked.contains(&s.as_str()))
        .collect())
}

fn age_ms(text: &str) -> Result<u64, String> {
    let ms = parse_duration_ms(text)?;
    if ms > AGE_MS_MAX {
        return Err("must be at most 36600days".to_owned());
    }
    Ok(ms)
}

fn min_attempt(text: &str) -> Result<u32, String> {
    wire::text::number(text.as_bytes())
        .filter(|n| *n >= 1)
        .ok_or_else(|| "must be a number from 1 to 4294967295".to_owned())
}

// --------------------------------------------------------------------------------------------- an id that is a position

/// What parses as a position of a tracked topic always is one, and most messages have no other id.
fn position_named_by(
    filter: &MessageFilter,
    directory: &Directory,
) -> Option<(TopicIx, LogPosition)> {
    let (name, partition, offset) = wire::position::parse(filter.id.as_deref()?.as_bytes())?;
    Some((directory.topic(name)?, LogPosition::new(partition, offset)))
}

/// The page with that one message, if the rest of the filter lets it through.
async fn at_position(
    state: &ApiState,
    filter: &MessageFilter,
    topic: TopicIx,
    at: LogPosition,
) -> Result<MessagePage, Problem> {
    let mut page = MessagePage::default();
    // A cursor cannot be there: such a page never has a next one.
    if filter.topic.is_some_and(|t| t != topic) {
        return Ok(page);
    }
    match look_up(state, topic, at).await? {
        Lookup::Found(detail) if passes(filter, &detail.message, clock::wall_ms()) => {
            page.messages.push(detail.message);
        }
        Lookup::Elsewhere => page.partial = true,
        Lookup::Rebuilding => return Err(Problem::recovering(None)),
        Lookup::Found(_) | Lookup::Settled | Lookup::Untracked | Lookup::NoSuchPartition => {}
    }
    Ok(page)
}

fn passes(filter: &MessageFilter, message: &MessageView, wall_ms: i64) -> bool {
    let state = if filter.states.is_empty() {
        !message.state.is_settled()
    } else {
        filter.states.contains(&message.state)
    };
    let due = |within_ms: u64| {
        message.deadline_wall_ms.is_some_and(|deadline| {
            deadline <= wall_ms.saturating_add(i64::try_from(within_ms).unwrap_or(i64::MAX))
        })
    };
    state
        && message.attempt >= filter.min_attempt
        && filter.older_than_ms.is_none_or(|ms| message.age_ms >= ms)
        && filter.due_within_ms.is_none_or(due)
}

// -------------------------------------------------------------------------------------------------------- the shapes

fn message_json(message: &MessageView, directory: &Directory) -> Map<String, Value> {
    let MessageView {
        topic,
        position: at,
        id,
        state,
        attempt,
        max_attempts,
        seen_wall_ms,
        deadline_wall_ms,
        age_ms,
        newest_delivery,
        cause,
        reason,
        size_bytes,
        late_ack,
        settled_wall_ms,
    } = message;
    let name = directory.name(*topic);
    let position = text::position(name, *at);
    let newest = LogPosition::new(at.partition, *newest_delivery);
    let mut members = Map::new();
    let mut put = |key: &str, value: Value| {
        members.insert(key.to_owned(), value);
    };
    put("id", id.as_deref().unwrap_or(&position).into());
    put("topic", name.into());
    put("partition", at.partition.into());
    put("offset", at.offset.into());
    put("state", state.as_str().into());
    put("attempt", (*attempt).into());
    put("max_attempts", (*max_attempts).into());
    put("seen_at", text::time(*seen_wall_ms).into());
    put("deadline", deadline_wall_ms.map(text::time).into());
    put("age_ms", (*age_ms).into());
    put("newest_delivery", text::position(name, newest).into());
    put(
        "cause",
        cause
            .map(|c| text::shown_cause(c, directory.ack_topic_of(*topic)))
            .into(),
    );
    put("reason", reason.as_deref().into());
    put("size_bytes", (*size_bytes).into());
    if state.is_settled() {
        put("settled_at", settled_wall_ms.map(text::time).into());
        put("late_ack", (*late_ack).into());
    }
    members.shift_insert(0, "position".to_owned(), position.into());
    members
}

fn detail_json(detail: &MessageDetail, directory: &Directory) -> Value {
    let message = &detail.message;
    let name = directory.name(message.topic);
    let ack_topic = directory.ack_topic_of(message.topic);
    let attempts: Vec<Value> = detail
        .attempts
        .iter()
        .map(|a| {
            let at = LogPosition::new(message.position.partition, a.offset);
            json!({
                "attempt": a.attempt,
                "position": text::position(name, at),
                "at": text::time(a.at_wall_ms),
                "cause": a.cause.map(|c| text::cause(c, ack_topic)),
                "outcome": a.outcome,
            })
        })
        .collect();
    let mut members = message_json(message, directory);
    members.insert("attempts".to_owned(), attempts.into());
    Value::Object(members)
}
