//! `GET /messages/{topic}/{partition}/{offset}/payload`: the record itself, fetched from Kafka.
//!
//! Bytes that are UTF-8 are shown as text, others as base64; a header's name, which Kafka wants to be text, is shown
//! with `\xNN` for what is not.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ApiState;
use super::messages::look_up_here;
use super::params::Params;
use super::path::At;
use super::problem::Problem;
use crate::ports::{ApiRequest, OwnedRecord};

pub async fn payload(
    State(state): State<ApiState>,
    At { topic, at }: At,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    look_up_here(&state, topic, at).await?;
    let record = state
        .backend
        .read(|reply| ApiRequest::Payload { topic, at, reply })
        .await??;
    Ok(Json(record_json(&record)))
}

fn record_json(record: &OwnedRecord) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(
            |(name, value)| json!({"name": name_text(name), "value": bytes_json(value.as_deref())}),
        )
        .collect();
    json!({
        "key": bytes_json(record.key.as_deref()),
        "value": bytes_json(record.value.as_deref()),
        "headers": headers,
    })
}

fn bytes_json(bytes: Option<&[u8]>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!({"encoding": "utf8", "data": text}),
            Err(_) => json!({"encoding": "base64", "data": STANDARD.encode(bytes)}),
        },
    }
}

fn name_text(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be_and_null_stays_null() {
        let record = OwnedRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(b"k\xc3\xa4".to_vec()),
            value: Some(vec![0xff, 0x00]),
            headers: vec![
                (b"plain".to_vec(), Some(Vec::new())),
                (b"ra\xffw\x00".to_vec(), None),
            ],
        };
        insta::assert_snapshot!(
            record_json(&record),
            @r#"{"key":{"encoding":"utf8","data":"kä"},"value":{"encoding":"base64","data":"/wA="},"headers":[{"name":"plain","value":{"encoding":"utf8","data":""}},{"name":"ra\\xffw\u0000","value":null}]}"#
        );
    }
}
