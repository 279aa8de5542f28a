//! What nobody can promise: an unclean election takes records that were durable, and gives their offsets to others.

use crate::lost_ranges::{go_on, make_due, wait_frozen};
use crate::scene::{Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::cluster::Cluster;
use crate::support::topics::{self, TopicSpec};
use crate::support::{eventually, judge, unique};

const OTHER: &str = "another record at the same offset";
/// Past a broker's session, after which a dead one is no longer waited for.
const FENCED_AFTER: f64 = 8.0;

#[test]
fn what_an_unclean_election_takes_is_noticed_and_no_other_record_is_sent_in_its_place() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let scene = Scene {
        brokers: cluster.brokers(),
        topic: unique("unclean"),
    };
    let source = TopicSpec::new(&scene.topic, 1)
        .on_brokers(&[1, 2])
        .config("min.insync.replicas", "1")
        .config("unclean.leader.election.enable", "true");
    topics::create(&scene.brokers, &source);
    for name in [scene.acks_topic(), scene.dead_letters_topic()] {
        topics::create(&scene.brokers, &TopicSpec::new(&name, 1).replicated());
    }
    // Longer than it all takes: a message that comes due before the cut is noticed dies of its payload's loss.
    let lines = "timeout = \"10m\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 2\n";
    // A session that outlasts it all: a partition that moves is rebuilt from what is there then.
    let session = "[kafka.consumer]\n\"session.timeout.ms\" = 60000\n";
    let service = Ackwarden::start(scene.config(lines).section(session));
    scene.ack(&scene.send_one("on both brokers"));

    // Only the first broker has it, and it is durable by all that its topic asks for.
    cluster.nodes[1].kill9();
    let_pass(FENCED_AFTER);
    let lost = scene.send_one("on one broker alone");
    service.wait_state(&lost, "outstanding", secs(60));
    // The one without it becomes the leader, and something else takes its offset.
    cluster.nodes[0].kill9();
    cluster.nodes[1].start_again();
    eventually("the other broker leads", secs(120), || {
        topics::leader_of(&scene.brokers, &scene.topic, 0).filter(|id| *id == 2)
    });
    let other = scene.send_one(OTHER);
    assert_eq!(other, lost);
    cluster.nodes[0].start_again();

    let frozen = wait_frozen(&service, &scene, "source-lost");
    let detail = frozen["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("it was cut"), "{frozen}");
    // Past the timeout of what was taken: nothing is sent in its place, until somebody decides.
    make_due(&service, &scene);
    let_pass(6.0);
    assert_eq!(scene.source().len(), 2);
    go_on(&service, &scene);
    let copies = scene.wait_copies(&other, 1, secs(120));
    assert_eq!(copies[0].value.as_deref(), Some(OTHER.as_bytes()));
    scene.ack(&other);
    service.wait_settled(&scene.topic, secs(60));
    assert_eq!(judge::copies_identical(&scene.source()), copies.len());
}
