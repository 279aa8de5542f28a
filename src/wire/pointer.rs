//! One value out of a JSON document, by RFC 6901 pointer, without building the document.
//!
//! Strings and integers are text for an id; anything else there does not fit. A document that is not JSON, up to its
//! end, does not fit either. Of equal keys in one object the last counts, as in `serde_json`.
//!
//! Memory: the text that is found. Depth: nesting is bounded by `serde_json`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::text;

/// A pointer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer {
    /// Without `~0` and `~1`; `None`: not a pointer, points at nothing.
    tokens: Option<Vec<String>>,
}

/// What an entry of an id list finds in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    Absent,
    /// There is something that cannot be an id.
    Unfit,
    Text(String),
}

impl JsonPointer {
    #[must_use]
    pub fn new(pointer: &str) -> Self {
        let tokens = match pointer.strip_prefix('/') {
            None if pointer.is_empty() => Some(Vec::new()),
            None => None,
            Some(rest) => Some(
                rest.split('/')
                    .map(|t| t.replace("~1", "/").replace("~0", "~"))
                    .collect(),
            ),
        };
        Self { tokens }
    }

    /// What stands there in `document`.
    #[must_use]
    pub fn find(&self, document: &[u8]) -> Found {
        let Some(tokens) = &self.tokens else {
            return Found::Absent;
        };
        let mut json = serde_json::Deserializer::from_slice(document);
        match (Walk { tokens }).deserialize(&mut json) {
            Ok(found) if json.end().is_ok() => found,
            _ => Found::Unfit,
        }
    }
}

/// Walks down to what the tokens name, and skips all else.
struct Walk<'p> {
    tokens: &'p [String],
}

impl Walk<'_> {
    /// A value that is not a container stands here: is it what was asked for?
    fn leaf(&self, found: Found) -> Found {
        if self.tokens.is_empty() {
            found
        } else {
            Found::Absent
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Found::Unfit);
        };
        let mut found = Found::Absent;
        while let Some(it_is) = map.next_key_seed(KeyIs(token))? {
            if it_is {
                found = map.next_value_seed(Walk { tokens: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        let mut found = self.leaf(Found::Unfit);
        if let Some((token, rest)) = self.tokens.split_first()
            && let Some(index) = text::number::<usize>(token.as_bytes())
        {
            for _ in 0..index {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Found::Absent);
                }
            }
            if let Some(element) = seq.next_element_seed(Walk { tokens: rest })? {
                found = element;
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_str<E>(self, value: &str) -> Result<Found, E> {
        Ok(self.leaf(match text::id(value.as_bytes()) {
            Some(id) => Found::Text(id.to_owned()),
            None => Found::Unfit,
        }))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Found, E> {
        Ok(self.leaf(Found::Text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Found, E> {
        Ok(self.leaf(Found::Text(value.to_string())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(self.leaf(Found::Unfit))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(self.leaf(Found::Unfit))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Absent)
    }
}

/// Compares a key without keeping it.
struct KeyIs<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(pointer: &str, document: &str) -> Found {
        JsonPointer::new(pointer).find(document.as_bytes())
    }

    fn text(t: &str) -> Found {
        Found::Text(t.to_owned())
    }

    #[test]
    fn strings_and_integers_are_found() {
        assert_eq!(find("/id", r#"{"a":[{"id":1}],"id":"A-7"}"#), text("A-7"));
        assert_eq!(
            find("/order/id", r#"{"order":{"id":42},"z":{}}"#),
            text("42")
        );
        assert_eq!(find("/n", r#"{"n":-5}"#), text("-5"));
        assert_eq!(
            find("/n", r#"{"n":18446744073709551615}"#),
            text("18446744073709551615")
        );
        assert_eq!(find("/1/id", r#"[{"id":"x"},{"id":"y"},3]"#), text("y"));
        assert_eq!(find("", r#""A-7""#), text("A-7"));
        assert_eq!(
            find("/a~1b/~0/", r#"{"a/b":{"~":{"":"deep"}}}"#),
            text("deep")
        );
        assert_eq!(find("/caf\u{e9}", r#"{"caf\u00e9":"\u00fc"}"#), text("ü"));
    }

    #[test]
    fn what_is_not_there_is_absent() {
        for (pointer, document) in [
            ("/id", "{}"),
            ("/id", "[]"),
            ("/id", "3"),
            ("/id", r#"{"id":null}"#),
            ("/id/x", r#"{"id":"A-7"}"#),
            ("/2", "[1,2]"),
            ("/01", "[1,2]"),
            ("/-", "[1,2]"),
            ("id", r#"{"id":"A-7"}"#),
        ] {
            assert_eq!(
                find(pointer, document),
                Found::Absent,
                "{pointer} {document}"
            );
        }
    }

    #[test]
    fn what_cannot_be_an_id_does_not_fit() {
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(513));
        for document in [
            r#"{"id":""}"#,
            r#"{"id":1.5}"#,
            r#"{"id":1e3}"#,
            r#"{"id":123456789012345678901234567890}"#,
            r#"{"id":true}"#,
            r#"{"id":{}}"#,
            r#"{"id":["A-7"]}"#,
            r#"{"id":"A-7"} tail"#,
            r#"{"id":"A-7""#,
            "",
            "id=A-7",
            &long,
        ] {
            assert_eq!(find("/id", document), Found::Unfit, "{document}");
        }
        assert_eq!(
            JsonPointer::new("/id").find(b"{\"id\":\"\xff\"}"),
            Found::Unfit
        );
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        assert_eq!(find("/id", r#"{"id":"a","id":"b"}"#), text("b"));
        assert_eq!(find("/id", r#"{"id":"a","id":null}"#), Found::Absent);
    }

    #[test]
    fn deep_nesting_is_no_trouble() {
        let deep = "[".repeat(200_000);
        assert_eq!(find("/id", &deep), Found::Unfit);
        let pointer = "/0".repeat(100_000);
        assert_eq!(find(&pointer, &deep), Found::Unfit);
        let closed = format!("{}{}", deep, "]".repeat(200_000));
        assert_eq!(find("/1", &format!("[{closed},\"A-7\"]")), text("A-7"));
    }

    /// JSON, and near misses of it.
    fn json_like() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"id\"", "\"a\"", "1", "null", "\"x", "\\u0000",
            ]),
            0..24,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), json in json_like()) {
            for pointer in ["", "/id", "/0/id", "/a/0"] {
                let _ = JsonPointer::new(pointer).find(&bytes);
                let _ = find(pointer, &json);
            }
        }

        #[test]
        fn it_agrees_with_serde_json(json in json_like()) {
            for pointer in ["/id", "/0/id", "/a/0"] {
                let expected = match serde_json::from_str::<serde_json::Value>(&json) {
                    Err(_) => Found::Unfit,
                    Ok(document) => match document.pointer(pointer) {
                        None | Some(serde_json::Value::Null) => Found::Absent,
                        Some(serde_json::Value::String(s)) => text(s),
                        Some(serde_json::Value::Number(n)) => text(&n.to_string()),
                        Some(_) => Found::Unfit,
                    },
                };
                prop_assert_eq!(find(pointer, &json), expected, "{} {}", pointer, json);
            }
        }
    }
}
