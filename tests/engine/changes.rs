//! What users change while it runs: a record on the state topic each, which the engine hears again from its reader.

use std::sync::Arc;

use ackwarden::config::{Overrides, load_text};
use ackwarden::core::event::PublishOutcome;
use ackwarden::core::view::{FrozenWhy, TopicView};
use ackwarden::core::{LogPosition, PolicyPatch};
use ackwarden::ports::{ApiRequest, Outgoing, Refusal};
use ackwarden::runtime::{Answer, Inbox, Input, KnownState, Names};
use ackwarden::store::MemoryStore;
use ackwarden::wire::state::{PolicyOverrides, StateRecord};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{Running, STATE_TOPIC, T};

type Reply = oneshot::Receiver<Result<(), Refusal>>;

impl Running {
    fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), Refusal>>) -> ApiRequest,
    ) -> Reply {
        let (reply, answer) = oneshot::channel();
        let ask = Input::Api(request(reply));
        self.inputs.send(ask).expect("the engine runs");
        answer
    }

    fn patch(&self, patch: PolicyPatch) -> Reply {
        self.ask(|reply| ApiRequest::PatchPolicy {
            topic: T,
            patch,
            apply_pending: false,
            reply,
        })
    }

    /// One of the timeout and one of the attempts, both under way.
    fn two_patches(&self) -> (Reply, Reply) {
        let first = self.patch(PolicyPatch {
            timeout_ms: Some(7_000),
            ..PolicyPatch::default()
        });
        let second = self.patch(PolicyPatch {
            max_attempts: Some(9),
            ..PolicyPatch::default()
        });
        self.view();
        (first, second)
    }

    fn pause(&self, paused: bool) -> Reply {
        self.ask(|reply| ApiRequest::Pause {
            topic: T,
            paused,
            reply,
        })
    }

    /// The record of that number is durable at that offset of the state topic.
    fn is_durable(&self, number: usize, offset: i64) {
        let at = LogPosition::new(0, offset);
        self.is_reported(number, PublishOutcome::Durable(at));
    }

    fn is_reported(&self, number: usize, outcome: PublishOutcome) {
        let token = self.changes.lock().expect("the test")[number];
        Inbox::new(self.inputs.clone()).put([Answer::Reported { token, outcome }]);
    }

    /// The reader of the state topic reads it.
    fn is_read(&self, record: &Outgoing, offset: i64) {
        let input = Input::State {
            offset,
            key: record.key.clone(),
            value: record.value.clone(),
        };
        self.inputs.send(input).expect("the engine runs");
    }

    fn change(&self, number: usize) -> Outgoing {
        let published = self.published.lock().expect("the test");
        let mut changes = published.iter().filter(|r| r.topic == STATE_TOPIC);
        changes.nth(number).expect("a record").clone()
    }

    fn view(&self) -> TopicView {
        let (reply, answer) = oneshot::channel();
        let ask = Input::Api(ApiRequest::Topics { reply });
        self.inputs.send(ask).expect("the engine runs");
        answer.blocking_recv().expect("an answer").remove(0)
    }

    fn is_paused(&self) -> bool {
        self.view()
            .frozen
            .iter()
            .any(|f| f.why == FrozenWhy::Paused)
    }
}

#[test]
fn what_stands_later_on_the_state_topic_holds_whatever_is_heard_first() {
    let running = Running::start(Box::new(MemoryStore::new()));
    let pause = running.pause(true);
    running.view();
    let paused = running.change(0);
    // Another instance resumes it right behind; both are read before the report of ours.
    let resumed = Outgoing {
        value: None,
        ..paused.clone()
    };
    running.is_read(&paused, 10);
    assert!(running.is_paused());
    running.is_read(&resumed, 11);
    assert!(!running.is_paused());
    running.is_durable(0, 10);
    assert_eq!(pause.blocking_recv(), Ok(Ok(())));
    assert!(!running.is_paused());
    // And the other way round: ours is behind, and reported before the other one is read.
    let pause = running.pause(true);
    running.view();
    running.is_durable(1, 13);
    assert_eq!(pause.blocking_recv(), Ok(Ok(())));
    running.is_read(&resumed, 12);
    assert!(running.is_paused());
    running.is_read(&paused, 13);
    assert!(running.is_paused());
    running.stop();
}

#[test]
fn of_two_changes_of_a_policy_under_way_the_second_is_laid_over_the_first() {
    let running = Running::start(Box::new(MemoryStore::new()));
    let (first, second) = running.two_patches();
    running.is_durable(0, 1);
    assert_eq!(first.blocking_recv(), Ok(Ok(())));
    running.view();
    running.is_durable(1, 2);
    assert_eq!(second.blocking_recv(), Ok(Ok(())));
    let policy = running.view().policy;
    assert_eq!((policy.timeout_ms, policy.max_attempts), (7_000, 9));
    let value = running.change(1).value.expect("overrides");
    let value = String::from_utf8(value).expect("json");
    assert!(value.contains("7s") && value.contains('9'), "{value}");
    running.stop();
}

#[test]
fn a_change_that_failed_is_not_in_the_one_behind_it() {
    let running = Running::start(Box::new(MemoryStore::new()));
    let (first, second) = running.two_patches();
    running.is_reported(0, PublishOutcome::Refused("no".into()));
    assert!(matches!(first.blocking_recv(), Ok(Err(Refusal::Kafka(_)))));
    running.view();
    running.is_durable(1, 2);
    assert_eq!(second.blocking_recv(), Ok(Ok(())));
    let policy = running.view().policy;
    assert_eq!((policy.timeout_ms, policy.max_attempts), (600_000, 9));
    running.stop();
}

/// What the state topic says, beside a file that may have changed since.
fn known(names: &Names, overrides: &[(&str, serde_json::Value)]) -> KnownState {
    let mut state = KnownState::default();
    for (topic, overrides) in overrides {
        let record = StateRecord::Policy {
            topic: (*topic).to_owned(),
            policy: Some(PolicyOverrides {
                overrides: overrides.as_object().expect("an object").clone(),
                apply_pending: false,
                actor: None,
                at_ms: 0,
            }),
        };
        let (key, value) = record.encode();
        let applied = state.apply(names, Some(&key), value.as_deref());
        applied.expect("a record");
    }
    state.keep_what_fits(names);
    state
}

#[test]
fn an_override_that_does_not_go_with_the_file_any_more_does_not_hold_and_the_others_do() {
    let text = "[kafka]\nbrokers = \"nowhere:1\"\n\
                [topics.orders]\ntimeout = \"20s\"\n[topics.payments]\nack_topic = \"paid\"\n";
    let loaded = load_text("test", text, std::iter::empty(), &Overrides::default());
    let config = Arc::new(loaded.expect("a configuration").config);
    let names = Names::new(config, "c".into(), "o".into());
    let [orders, payments] = ["orders", "payments"].map(|t| names.topic_ix(t).expect("tracked"));
    // Then, the timeout was shorter, and nobody's ACKs were on `paid`.
    let of_orders = json!({"timeout_max": "10s", "dead_letter": "paid", "max_attempts": 7});
    let state = known(&names, &[("orders", of_orders)]);
    let kept = PolicyPatch {
        max_attempts: Some(7),
        ..PolicyPatch::default()
    };
    assert_eq!(state.overrides(orders), kept);
    // Each is right beside the file, and both together send dead letters round.
    let ring = [
        ("orders", json!({"dead_letter": "payments"})),
        (
            "payments",
            json!({"dead_letter": "orders", "max_attempts": 7}),
        ),
    ];
    let state = known(&names, &ring);
    assert_eq!(state.overrides(orders), PolicyPatch::default());
    let went_first = state.overrides(payments).dead_letter;
    assert_eq!(went_first, Some(Some("orders".into())));
    // And who asks for that while it runs is told so.
    let back = PolicyPatch {
        dead_letter: Some(Some("payments".into())),
        ..PolicyPatch::default()
    };
    let problems = state.problems(&names, orders, &back);
    assert!(
        problems[0].1.contains("orders → payments → orders"),
        "{problems:?}"
    );
}
