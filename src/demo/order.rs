//! The payload of the demo: a numbered order. The number is how an observer recognises a message, whichever delivery of it
//! Service B worked on.

use serde_json::{Value, json};

/// The JSON text of order `number`, the same each time.
#[must_use]
pub fn encode(number: u64) -> Vec<u8> {
    json!({
        "order": number,
        "customer": format!("c-{}", number % 97),
        "cents": 100 + number * 37 % 9_900,
    })
    .to_string()
    .into_bytes()
}

/// The number of an order; `None` for any other payload.
#[must_use]
pub fn number(payload: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(payload)
        .ok()?
        .get("order")?
        .as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_recognised_by_its_number_and_nothing_else_is() {
        assert_eq!(number(&encode(0)), Some(0));
        assert_eq!(number(&encode(u64::from(u32::MAX))), Some(4_294_967_295));
        assert_eq!(number(b"42"), None);
        assert_eq!(number(br#"{"order":"42"}"#), None);
        assert_eq!(number(&[0xff, 0x00]), None);
    }
}
