//! Lists of id sources (`id`, `ack_id`): the first entry that yields a value names the message.
//!
//! Which value an entry yields:
//! - `header:NAME`: the last header of that name, as Kafka's own `lastHeader` does; a null value is none.
//! - `cloudevents`: the last `ce_source`, a space, the last `ce_id`; both must be there.
//! - `json:/pointer`: a string or an integer in the record's value; JSON's null is none.
//! - `key`: the record's key; a null key is none.
//! - `position`: ends the list.
//!
//! What is there but is not UTF-8 of 1 to 512 bytes does not fit: the next entry is asked.
//!
//! Headers are seen once, in whatever order they stand; what the list needs of them is put aside in [`Slots`], whose
//! buffers are used again for the next record, so that asking for an id allocates only where one is found.

use std::borrow::Cow;

use super::pointer::{Found, JsonPointer};
use super::text;
use crate::config::IdSource;

const CE_SOURCE: &[u8] = b"ce_source";
const CE_ID: &[u8] = b"ce_id";

/// A list, ready for use.
#[derive(Debug, Clone)]
pub struct IdRules {
    rules: Vec<Rule>,
    /// The headers that the rules name; a rule holds the place of its header in here, and in the slots.
    header_names: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Rule {
    Header(usize),
    CloudEvents { source: usize, id: usize },
    Json(JsonPointer),
    Key,
    Position,
}

/// What a list says of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<'a> {
    /// `None`: no entry before `position` yielded a value.
    pub id: Option<Cow<'a, str>>,
    /// An entry before it had something that did not fit.
    pub unfit: bool,
}

impl IdRules {
    /// The lists one after the other, what is twice in them once.
    pub fn new<'s>(sources: impl IntoIterator<Item = &'s IdSource>) -> Self {
        let mut seen: Vec<&IdSource> = Vec::new();
        let mut new = Self {
            rules: Vec::new(),
            header_names: Vec::new(),
        };
        for source in sources {
            if seen.contains(&source) {
                continue;
            }
            seen.push(source);
            let rule = match source {
                IdSource::Header(name) => Rule::Header(new.header(name.as_bytes())),
                IdSource::CloudEvents => Rule::CloudEvents {
                    source: new.header(CE_SOURCE),
                    id: new.header(CE_ID),
                },
                IdSource::Json(pointer) => Rule::Json(JsonPointer::new(pointer)),
                IdSource::Key => Rule::Key,
                IdSource::Position => Rule::Position,
            };
            new.rules.push(rule);
        }
        new
    }

    fn header(&mut self, name: &[u8]) -> usize {
        if let Some(at) = self.header_names.iter().position(|n| n == name) {
            return at;
        }
        self.header_names.push(name.to_vec());
        self.header_names.len() - 1
    }

    /// Whether anything but the position was asked for.
    #[must_use]
    pub fn wants_more_than_position(&self) -> bool {
        !matches!(self.rules.first(), None | Some(Rule::Position))
    }

    /// Whether a record without headers yields no value, and nothing of it is asked.
    #[must_use]
    pub fn wants_headers_alone(&self) -> bool {
        !matches!(
            self.first_without_headers(),
            Some(Rule::Key | Rule::Json(_))
        )
    }

    /// Whether the key is the first that can name a record without headers.
    #[must_use]
    pub fn wants_key_without_headers(&self) -> bool {
        matches!(self.first_without_headers(), Some(Rule::Key))
    }

    fn first_without_headers(&self) -> Option<&Rule> {
        let of_headers = |rule: &Rule| matches!(rule, Rule::Header(_) | Rule::CloudEvents { .. });
        self.rules.iter().find(|rule| !of_headers(rule))
    }

    /// Puts a header aside if an entry wants it. For every header of the record, in order.
    pub fn observe(&self, slots: &mut Slots, name: &[u8], value: Option<&[u8]>) {
        for (wanted, slot) in self.header_names.iter().zip(&mut slots.0) {
            if wanted == name {
                slot.set(value);
            }
        }
    }

    /// The id, once all headers were observed.
    #[must_use]
    pub fn pick<'a>(
        &self,
        slots: &'a Slots,
        key: Option<&'a [u8]>,
        value: Option<&[u8]>,
    ) -> Picked<'a> {
        let mut unfit = false;
        for rule in &self.rules {
            let found = match rule {
                Rule::Header(at) => slots.get(*at),
                Rule::CloudEvents { source, id } => join(slots.get(*source), slots.get(*id)),
                Rule::Json(pointer) => match value.map(|v| pointer.find(v)) {
                    None | Some(Found::Absent) => Value::Absent,
                    Some(Found::Unfit) => Value::Unfit,
                    Some(Found::Text(text)) => Value::Text(Cow::Owned(text)),
                },
                Rule::Key => match key {
                    None => Value::Absent,
                    Some(key) => text::id(key).map_or(Value::Unfit, |t| Value::Text(t.into())),
                },
                Rule::Position => break,
            };
            match found {
                Value::Absent => {}
                Value::Unfit => unfit = true,
                Value::Text(id) => {
                    return Picked {
                        id: Some(id),
                        unfit,
                    };
                }
            }
        }
        Picked { id: None, unfit }
    }
}

enum Value<'a> {
    Absent,
    Unfit,
    Text(Cow<'a, str>),
}

/// A CloudEvents id names an event together with its source only.
fn join<'a>(source: Value<'a>, id: Value<'a>) -> Value<'a> {
    match (source, id) {
        (Value::Absent, Value::Absent) => Value::Absent,
        (Value::Text(source), Value::Text(id)) => {
            let joined = format!("{source} {id}");
            if joined.len() > text::ID_BYTES_MAX {
                return Value::Unfit;
            }
            Value::Text(Cow::Owned(joined))
        }
        // Half an id is something that does not fit.
        _ => Value::Unfit,
    }
}

/// Header values put aside while the headers of one record are visited.
#[derive(Debug, Default)]
pub struct Slots(Vec<Slot>);

impl Slots {
    /// Empties the slots for a record of a topic with these rules.
    pub fn reset(&mut self, rules: &IdRules) {
        self.0.resize_with(rules.header_names.len(), Slot::default);
        for slot in &mut self.0 {
            slot.state = SlotState::Absent;
        }
    }

    fn get(&self, at: usize) -> Value<'_> {
        self.0.get(at).map_or(Value::Absent, Slot::get)
    }
}

/// One header value, if it can be an id.
#[derive(Debug, Default)]
pub struct Slot {
    state: SlotState,
    text: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    #[default]
    Absent,
    Unfit,
    Text,
}

impl Slot {
    /// The last one set counts.
    pub fn set(&mut self, value: Option<&[u8]>) {
        self.text.clear();
        self.state = match value.map(text::id) {
            None => SlotState::Absent,
            Some(None) => SlotState::Unfit,
            Some(Some(id)) => {
                self.text.push_str(id);
                SlotState::Text
            }
        };
    }

    /// The text, if one is there that fits.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        (self.state == SlotState::Text).then_some(self.text.as_str())
    }

    fn get(&self) -> Value<'_> {
        match self.state {
            SlotState::Absent => Value::Absent,
            SlotState::Unfit => Value::Unfit,
            SlotState::Text => Value::Text(Cow::Borrowed(&self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

    fn pick(
        list: &[IdSource],
        headers: Headers<'_>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> (Option<String>, bool) {
        let rules = IdRules::new(list);
        let mut slots = Slots::default();
        slots.reset(&rules);
        for (name, value) in headers {
            rules.observe(&mut slots, name.as_bytes(), *value);
        }
        let picked = rules.pick(&slots, key, value);
        (picked.id.map(Cow::into_owned), picked.unfit)
    }

    fn header(name: &str) -> IdSource {
        IdSource::Header(name.into())
    }

    #[test]
    fn the_first_entry_with_a_value_names_the_message() {
        let list = [header("a"), header("b"), IdSource::Key, IdSource::Position];
        assert_eq!(
            pick(&list, &[("b", Some(b"2")), ("a", Some(b"1"))], None, None),
            (Some("1".into()), false)
        );
        assert_eq!(
            pick(&list, &[("b", Some(b"2"))], Some(b"k"), None),
            (Some("2".into()), false)
        );
        assert_eq!(
            pick(&list, &[], Some(b"k"), None),
            (Some("k".into()), false)
        );
        assert_eq!(pick(&list, &[], None, None), (None, false));
    }

    #[test]
    fn nothing_behind_the_position_is_asked() {
        let list = [IdSource::Position, IdSource::Key];
        assert_eq!(pick(&list, &[], Some(b"k"), None), (None, false));
        assert!(!IdRules::new(&list).wants_more_than_position());
    }

    #[test]
    fn what_does_not_fit_falls_to_the_next() {
        let list = [header("a"), IdSource::Key];
        for bad in [&b""[..], b"\xff", &[b'x'; 513]] {
            assert_eq!(
                pick(&list, &[("a", Some(bad))], Some(b"k"), None),
                (Some("k".into()), true)
            );
        }
        assert_eq!(pick(&list, &[], Some(b"\xff"), None), (None, true));
    }

    #[test]
    fn the_last_of_equal_headers_counts() {
        let list = [header("a")];
        assert_eq!(
            pick(&list, &[("a", Some(b"1")), ("a", Some(b"2"))], None, None),
            (Some("2".into()), false)
        );
        assert_eq!(
            pick(&list, &[("a", Some(b"1")), ("a", None)], None, None),
            (None, false)
        );
    }

    #[test]
    fn cloudevents_need_source_and_id() {
        let list = [IdSource::CloudEvents];
        assert_eq!(
            pick(
                &list,
                &[("ce_id", Some(b"7")), ("ce_source", Some(b"/shop"))],
                None,
                None
            ),
            (Some("/shop 7".into()), false)
        );
        assert_eq!(
            pick(&list, &[("ce_id", Some(b"7"))], None, None),
            (None, true)
        );
        assert_eq!(pick(&list, &[], None, None), (None, false));
        let long = [b'x'; 300];
        assert_eq!(
            pick(
                &list,
                &[("ce_id", Some(&long)), ("ce_source", Some(&long))],
                None,
                None
            ),
            (None, true)
        );
    }

    #[test]
    fn json_is_looked_up_in_the_value() {
        let list = [IdSource::Json("/order/id".into()), IdSource::Key];
        let value: &[u8] = br#"{"order":{"id":42}}"#;
        assert_eq!(
            pick(&list, &[], Some(b"k"), Some(value)),
            (Some("42".into()), false)
        );
        assert_eq!(
            pick(&list, &[], Some(b"k"), Some(b"{}")),
            (Some("k".into()), false)
        );
        assert_eq!(
            pick(&list, &[], Some(b"k"), Some(b"{")),
            (Some("k".into()), true)
        );
        assert_eq!(
            pick(&list, &[], Some(b"k"), None),
            (Some("k".into()), false)
        );
    }

    #[test]
    fn a_record_sees_nothing_of_the_one_before() {
        let rules = IdRules::new(&[header("a")]);
        let mut slots = Slots::default();
        slots.reset(&rules);
        rules.observe(&mut slots, b"a", Some(b"1"));
        slots.reset(&rules);
        assert_eq!(rules.pick(&slots, None, None).id, None);
    }
}
