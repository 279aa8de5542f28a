//! The faulty store does what it says, and what the port allows.

use ackwarden::ports::{Store, StoreError};
use ackwarden::store::{Fault, FaultyStore, MemoryStore};

use super::model::{Model, checkpoint, delta, loaded};

#[test]
fn a_full_disk_keeps_the_checkpoint_before_and_passes() {
    let (mut store, faults) = FaultyStore::new(MemoryStore::new());
    let (first, second) = (
        checkpoint([delta("a", 0, 1)]),
        checkpoint([delta("a", 0, 2)]),
    );
    let mut model = Model::default();
    store.write(&first).expect("write");
    model.apply(&first);
    faults.inject(Fault::NoSpace, 2);
    for _ in 0..2 {
        assert!(matches!(
            store.write(&second),
            Err(StoreError::NoSpace { .. })
        ));
        assert_eq!(loaded(&mut store).1, model);
    }
    store.write(&second).expect("write");
    model.apply(&second);
    assert_eq!(loaded(&mut store).1, model);
    assert_eq!(faults.writes(), (2, 2));
}

#[test]
fn an_error_may_hide_that_all_was_written() {
    let (mut store, faults) = FaultyStore::new(MemoryStore::new());
    let written = checkpoint([delta("a", 0, 1)]);
    faults.inject(Fault::WrittenButReportedBroken, 1);
    assert!(matches!(
        store.write(&written),
        Err(StoreError::Broken { .. })
    ));
    let mut model = Model::default();
    model.apply(&written);
    assert_eq!(loaded(&mut store).1, model);
}

#[test]
fn what_was_torn_is_not_trusted_until_it_is_replaced() {
    let kept = MemoryStore::new();
    let (mut store, faults) = FaultyStore::new(kept.clone());
    store
        .write(&checkpoint([delta("a", 0, 1), delta("a", 1, 1)]))
        .expect("write");
    faults.inject(Fault::Torn, 1);
    assert!(store.write(&checkpoint([delta("a", 1, 2)])).is_err());
    drop(store);
    let mut store = FaultyStore::with_faults(kept, faults);
    store.write(&checkpoint([delta("a", 1, 3)])).expect("write");
    let trusted = |store: &mut dyn Store| {
        let partitions = store.load().expect("load").1;
        partitions
            .iter()
            .map(|p| p.image.is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(trusted(&mut store), [true, false]);
    let mut again = delta("a", 1, 4);
    again.replace = true;
    store.write(&checkpoint([again])).expect("write");
    assert_eq!(trusted(&mut store), [true, true]);
}

#[test]
fn faults_can_be_called_off() {
    let (mut store, faults) = FaultyStore::new(MemoryStore::new());
    faults.inject(Fault::Broken, 5);
    assert!(store.write(&checkpoint([])).is_err());
    faults.stop();
    store.write(&checkpoint([])).expect("write");
}
