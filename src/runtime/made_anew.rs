//! Notices that a topic was deleted and made anew while we run: its offsets may look as if nothing had happened, its id
//! does not lie. An id that is not known, then or now, proves nothing.

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;

use super::hands::TopicIds;
use super::input::Input;
use super::lookups::{Gone, send};
use super::names::Names;
use crate::core::types::AckIx;
use crate::core::{Event, TopicIx};
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, At};

/// What was told already: the ids that are in force change only when the engine has taken it in.
#[derive(Debug, Default)]
pub(super) struct MadeAnew {
    told: HashMap<String, String>,
}

impl MadeAnew {
    /// Compares all ids; answers with the names of the topics that are other ones now.
    ///
    /// # Errors
    /// The engine is gone.
    pub fn look(
        &mut self,
        names: &Names,
        admin: &Admin,
        ids: &TopicIds,
        inputs: &SyncSender<Input>,
    ) -> Result<Vec<String>, Gone> {
        let mut all: Vec<&str> = names
            .config
            .topics
            .iter()
            .map(|t| t.name.as_str())
            .collect();
        for ack in names.ack_names() {
            if !all.contains(&ack) {
                all.push(ack);
            }
        }
        // Without an answer it is looked at the next time.
        let Ok(now) = admin.topic_ids(&all) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (name, id) in all.into_iter().zip(now) {
            let known = ids.read().ok().and_then(|ids| ids.get(name).cloned());
            let (Some(id), Some(known)) = (id, known) else {
                continue;
            };
            if known.is_empty() {
                // It was not there yet, or not told.
                if let Ok(mut ids) = ids.write() {
                    ids.insert(name.to_owned(), id);
                }
                continue;
            }
            if known == id {
                continue;
            }
            found.push(name.to_owned());
            if self.told.get(name) == Some(&id) {
                continue;
            }
            // Without an answer it is told next time.
            let Ok(events) = events(names, admin, name) else {
                continue;
            };
            tracing::warn!(topic = name, "the topic was deleted and made anew");
            for event in events {
                let (name, id) = (name.to_owned(), id.clone());
                send(inputs, Input::MadeAnew { name, id, event })?;
            }
            self.told.insert(name.to_owned(), id);
        }
        Ok(found)
    }
}

fn events(names: &Names, admin: &Admin, name: &str) -> Result<Vec<Event>, KafkaProblem> {
    let ends_of = |topic: &str, at| match admin.topic(topic)? {
        Some(info) => admin.offsets(topic, &info.partitions, at, false),
        None => Ok(Vec::new()),
    };
    let log_starts = ends_of(name, At::Earliest)?;
    let mut events = Vec::new();
    for (i, topic) in names.config.topics.iter().enumerate() {
        if topic.name == name {
            events.push(Event::SourceMadeAnew {
                topic: TopicIx(i as u16),
                log_starts: log_starts.clone(),
                ack_ends: ends_of(&topic.ack_topic, At::Latest)?,
            });
        }
    }
    if let Some(ack) = names.ack_names().iter().position(|n| *n == name) {
        events.push(Event::AckTopicMadeAnew {
            ack: AckIx(ack as u16),
            log_starts,
        });
    }
    Ok(events)
}
