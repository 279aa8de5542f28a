//! What decoding needs to know of the configuration, looked up quickly: topics by name, id lists, who serves whom.
//!
//! Invariant: a source topic's index is its place in the configuration; an ACK topic's index is its place among the
//! distinct ACK topics, in the order in which the sources name them. Everybody numbers them by this.

use std::collections::HashMap;

use super::id::IdRules;
use super::position;
use crate::config::Config;
use crate::core::{AckIx, TopicIx};

/// Built once from the configuration; shared by the decoders.
#[derive(Debug)]
pub struct DecodeRules {
    group: String,
    sources: Vec<SourceRule>,
    acks: Vec<AckRule>,
    source_by_name: HashMap<Vec<u8>, TopicIx>,
    ack_by_name: HashMap<String, AckIx>,
}

/// A source topic.
#[derive(Debug)]
pub struct SourceRule {
    pub name: String,
    /// Where its ACKs are.
    pub ack: AckIx,
    pub ids: IdRules,
    /// A message that nothing but its position names is counted. Only where somebody asked for another id: positions
    /// are what is recommended, so that the default list finding no header is no fault.
    pub missing_id_counts: bool,
    /// There is nothing to say of a record without headers.
    pub plain_without_headers: bool,
}

/// An ACK topic.
#[derive(Debug)]
pub struct AckRule {
    pub name: String,
    /// The sources that it serves, ascending; never empty.
    pub sources: Vec<TopicIx>,
    /// The `ack_id` lists of these sources, one after the other.
    pub ids: IdRules,
    /// Of a record without headers, its key says what it names.
    pub key_without_headers: bool,
}

impl DecodeRules {
    #[must_use]
    pub fn new(config: &Config, cluster_id: &str) -> Self {
        let mut new = Self {
            group: format!("{cluster_id}/{}", config.kafka.group_id),
            sources: Vec::with_capacity(config.topics.len()),
            acks: Vec::new(),
            source_by_name: HashMap::new(),
            ack_by_name: HashMap::new(),
        };
        for (index, topic) in (0..=u16::MAX).zip(&config.topics) {
            let topic_ix = TopicIx(index);
            // No more ACK topics than source topics, so that the length always fits.
            let next = AckIx(u16::try_from(new.acks.len()).unwrap_or(u16::MAX));
            let ack = *new
                .ack_by_name
                .entry(topic.ack_topic.clone())
                .or_insert(next);
            match new.acks.get_mut(usize::from(ack.0)) {
                Some(rule) => rule.sources.push(topic_ix),
                None => new.acks.push(AckRule {
                    name: topic.ack_topic.clone(),
                    sources: vec![topic_ix],
                    ids: IdRules::new([]),
                    key_without_headers: false,
                }),
            }
            let ids = IdRules::new(&topic.id);
            let missing_id_counts =
                ids.wants_more_than_position() && topic.set_by_file.contains("id");
            new.sources.push(SourceRule {
                name: topic.name.clone(),
                ack,
                missing_id_counts,
                plain_without_headers: ids.wants_headers_alone() && !missing_id_counts,
                ids,
            });
            new.source_by_name
                .entry(topic.name.clone().into_bytes())
                .or_insert(topic_ix);
        }
        for ack in &mut new.acks {
            let served = ack.sources.iter().map(|t| usize::from(t.0));
            ack.ids = IdRules::new(
                served
                    .filter_map(|t| config.topics.get(t))
                    .flat_map(|t| &t.ack_id),
            );
            ack.key_without_headers = ack.ids.wants_key_without_headers();
        }
        new
    }

    /// `cluster-id/group-id`: what our own records carry in `ackwarden-group`.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// In the order of their `TopicIx`.
    #[must_use]
    pub fn sources(&self) -> &[SourceRule] {
        &self.sources
    }

    /// In the order of their `AckIx`.
    #[must_use]
    pub fn acks(&self) -> &[AckRule] {
        &self.acks
    }

    #[must_use]
    pub fn source(&self, topic: TopicIx) -> Option<&SourceRule> {
        self.sources.get(usize::from(topic.0))
    }

    #[must_use]
    pub fn ack(&self, ack: AckIx) -> Option<&AckRule> {
        self.acks.get(usize::from(ack.0))
    }

    /// The source topic of that name.
    #[must_use]
    pub fn topic_ix(&self, name: &[u8]) -> Option<TopicIx> {
        self.source_by_name.get(name).copied()
    }

    /// The ACK topic of that name.
    #[must_use]
    pub fn ack_ix(&self, name: &str) -> Option<AckIx> {
        self.ack_by_name.get(name).copied()
    }

    /// Whether ACKs for that source belong on that ACK topic.
    #[must_use]
    pub fn serves(&self, ack: AckIx, topic: TopicIx) -> bool {
        self.source(topic).is_some_and(|s| s.ack == ack)
    }

    /// Whether the text is a position of a tracked topic, and so never a label.
    #[must_use]
    pub fn is_position(&self, text: &[u8]) -> bool {
        position::split(text).is_some_and(|(topic, _, _)| self.topic_ix(topic).is_some())
    }
}

/// Finds the source topic of a record; a run of records of one topic asks the table once.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LastTopic(Option<TopicIx>);

impl LastTopic {
    pub fn find(&mut self, rules: &DecodeRules, name: &[u8]) -> Option<TopicIx> {
        if let Some(last) = self.0
            && rules
                .source(last)
                .is_some_and(|s| s.name.as_bytes() == name)
        {
            return Some(last);
        }
        let found = rules.topic_ix(name)?;
        self.0 = Some(found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{config, topic};
    use super::*;

    #[test]
    fn ack_topics_are_numbered_in_the_order_of_first_mention() {
        let rules = DecodeRules::new(
            &config(vec![
                topic("orders", "acks"),
                topic("invoices", "invoices-acks"),
                topic("returns", "acks"),
            ]),
            "c1",
        );
        assert_eq!(rules.group(), "c1/ackwarden");
        assert_eq!(rules.acks().len(), 2);
        assert_eq!(rules.acks()[0].sources, [TopicIx(0), TopicIx(2)]);
        assert_eq!(rules.acks()[1].sources, [TopicIx(1)]);
        assert_eq!(rules.ack_ix("invoices-acks"), Some(AckIx(1)));
        assert_eq!(rules.topic_ix(b"returns"), Some(TopicIx(2)));
        assert_eq!(rules.topic_ix(b"acks"), None);
        assert!(rules.serves(AckIx(0), TopicIx(2)));
        assert!(!rules.serves(AckIx(1), TopicIx(2)));
        assert!(!rules.serves(AckIx(0), TopicIx(9)));
    }

    #[test]
    fn only_positions_of_tracked_topics_are_positions() {
        let rules = DecodeRules::new(&config(vec![topic("orders", "acks")]), "c1");
        assert!(rules.is_position(b"orders/3/1042"));
        assert!(!rules.is_position(b"shipping/3/1042"));
        assert!(!rules.is_position(b"orders/3/-1"));
    }

    #[test]
    fn the_cache_answers_as_the_table_does() {
        let rules = DecodeRules::new(
            &config(vec![topic("a", "a-acks"), topic("b", "b-acks")]),
            "c1",
        );
        let mut last = LastTopic::default();
        for name in ["a", "a", "b", "x", "b", "a", "x", "a"] {
            assert_eq!(
                last.find(&rules, name.as_bytes()),
                rules.topic_ix(name.as_bytes()),
                "{name}"
            );
        }
    }
}
