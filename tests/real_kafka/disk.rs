//! A store on a disk that is full: the service goes on without, says so, and writes again when there is room.

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, Scene, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::eventually;
use crate::support::small_disk::SmallDisk;

#[test]
fn with_its_disk_full_it_goes_on_without_checkpoints_and_writes_again_when_there_is_room() {
    let kafka = require_kafka!();
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let scene = Scene::new(kafka, "full-disk", 1);
    let slow = "timeout = \"10s\"\nbackoff = 1.0\njitter = 0.0\n";
    let config = scene.config(slow).store(&disk.path().join("store"));
    let mut service = Ackwarden::start(config);
    let before = scene.send_one("before");
    service.wait_state(&before, "outstanding", secs(60));
    let filler = disk.fill();
    let settled = scene.send_one("acknowledged while there was no room");
    scene.ack(&settled);
    scene.ack(&before);
    let open = scene.send_one("retried while there was no room");
    scene.wait_copies(&open, 1, secs(60));
    eventually("it says that nothing is written", secs(60), || {
        let log = service.log();
        (log.contains("no checkpoint was written") && log.contains("space")).then_some(())
    });
    service.wait_state(&settled, "acked", secs(60));
    std::fs::remove_file(filler).expect("the filler goes");
    // It tries again by itself.
    let late = scene.send_one("when there was room again");
    eventually("checkpoints are written again", secs(120), || {
        service.log().contains("written again").then_some(())
    });
    service.kill9_and_start_again();
    scene.ack(&open);
    scene.ack(&late);
    service.wait_settled(&scene.topic, secs(60));
    assert_eq!(scene.copies_of(&settled), []);
}

#[test]
fn with_no_room_from_the_start_it_runs_without_a_store_and_rebuilds_from_kafka() {
    let kafka = require_kafka!();
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let filler = disk.fill();
    let scene = Scene::new(kafka, "no-disk", 1);
    let config = scene.config(EVERY_SECOND).store(&disk.path().join("store"));
    let mut service = Ackwarden::start(config.instance_id("it"));
    let open = scene.send_one("v");
    scene.wait_copies(&open, 1, secs(60));
    assert!(
        service.log().contains("without a store"),
        "{}",
        service.log()
    );
    eventually("it says that no checkpoints are written", secs(60), || {
        (service.metric("ackwarden_store_troubled", &[]) == 1.0).then_some(())
    });
    service.kill9_and_start_again();
    scene.ack(&open);
    service.wait_settled(&scene.topic, secs(60));
    std::fs::remove_file(filler).expect("room");
    let other = scene.send_one("w");
    eventually("checkpoints are written again", secs(60), || {
        let stats = service.get("/stats");
        (stats["store"]["trouble"].is_null() && stats["store"]["checkpoint_last_ms"].is_u64())
            .then_some(())
    });
    scene.wait_copies(&other, 1, secs(60));
    service.kill9_and_start_again();
    scene.ack(&other);
    service.wait_settled(&scene.topic, secs(60));
}
