//! What was written, before anything is believed: each value with the place where it stands.
//!
//! File, environment and flags write into the same tables one after the other, the later over the earlier, so that a
//! value always has the place of the layer that won.

use std::collections::BTreeMap;

use super::problem::Place;
use super::scalar::Scalar;

/// A value, one level deep: nothing in the configuration goes deeper.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RawValue {
    Scalar(Scalar),
    List(Vec<(Scalar, Place)>),
}

impl RawValue {
    /// As TOML writes it.
    pub fn literal(&self) -> String {
        let scalar = |scalar: &Scalar| match scalar {
            Scalar::Text(text) => format!("\"{text}\""),
            Scalar::Integer(n) => n.to_string(),
            Scalar::Float(x) => format!("{x:?}"),
            Scalar::Bool(on) => on.to_string(),
            Scalar::Other(name) => (*name).to_owned(),
        };
        match self {
            Self::Scalar(value) => scalar(value),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|(item, _)| scalar(item)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) => scalar.type_name(),
            Self::List(_) => "array",
        }
    }
}

/// A key that was set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub value: RawValue,
    pub key: Place,
    pub at: Place,
}

/// Known keys by name.
pub(super) type Section = BTreeMap<&'static str, Entry>;

/// A librdkafka property, flattened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Property {
    pub value: String,
    pub key: Place,
}

pub(super) type Properties = BTreeMap<String, Property>;

/// `[topics.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawTopic {
    pub name: String,
    pub place: Place,
    pub entries: Section,
}

/// All that was written.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    pub kafka: Section,
    pub properties: Properties,
    pub consumer: Properties,
    pub producer: Properties,
    pub store: Section,
    pub http: Section,
    pub limits: Section,
    pub defaults: Section,
    /// In the order of the file.
    pub topics: Vec<RawTopic>,
}

impl RawConfig {
    /// `properties`, `consumer` or `producer`.
    pub fn properties_mut(&mut self, name: &str) -> Option<&mut Properties> {
        match name {
            "properties" => Some(&mut self.properties),
            "consumer" => Some(&mut self.consumer),
            "producer" => Some(&mut self.producer),
            _ => None,
        }
    }
}
