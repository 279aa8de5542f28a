//! Topics and positions in paths: parsed and looked up before a handler runs.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::ApiState;
use super::directory::Directory;
use super::problem::{Code, FieldError, Problem};
use crate::core::{LogPosition, TopicIx};
use crate::wire::text::number;

/// `{topic}`: one that is tracked.
#[derive(Debug, Clone, Copy)]
pub struct Topic(pub TopicIx);

/// `{topic}/{partition}/{offset}` of a tracked topic; whether there is such a partition the runtime knows.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub topic: TopicIx,
    pub at: LogPosition,
}

impl FromRequestParts<ApiState> for Topic {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let Ok(Path(name)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(unknown_topic(&state.directory));
        };
        find(&state.directory, &name).map(Self)
    }
}

impl FromRequestParts<ApiState> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let path = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((name, partition, offset))) = path else {
            return Err(unknown_topic(&state.directory));
        };
        let topic = find(&state.directory, &name)?;
        let mut errors = Vec::new();
        let partition = number::<i32>(partition.as_bytes()).unwrap_or_else(|| {
            errors.push(FieldError::new(
                "partition",
                "must be a number from 0 to 2147483647, without leading zeros",
            ));
            0
        });
        let offset = number::<i64>(offset.as_bytes()).unwrap_or_else(|| {
            errors.push(FieldError::new(
                "offset",
                "must be a number from 0 to 9223372036854775807, without leading zeros",
            ));
            0
        });
        if !errors.is_empty() {
            return Err(Problem::fields(Code::BadPosition, errors));
        }
        Ok(Self {
            topic,
            at: LogPosition::new(partition, offset),
        })
    }
}

fn find(directory: &Directory, name: &str) -> Result<TopicIx, Problem> {
    directory
        .topic(name)
        .ok_or_else(|| unknown_topic(directory))
}

fn unknown_topic(directory: &Directory) -> Problem {
    Problem::new(
        Code::UnknownTopic,
        format!(
            "no such topic is tracked; {}; add it to the configuration and restart",
            directory.tracked()
        ),
    )
}
