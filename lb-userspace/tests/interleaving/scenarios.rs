//! What happens while readers connect. Each scenario is as small as its danger allows: tables that
//! have no room to spare, and one backend where one is enough.

use std::sync::Arc;

use lb_common::{Range, V4};
use lb_userspace::publish::{Family, Sizes, Store as _, Wire as _};

use crate::{
    tables::{Defences, LoomStore, LoomTables},
    world::{OTHER, OURS, State, World, backend, check, choose, remove, set},
};

/// A Service is published anew until its first block is reused.
pub(crate) fn republish(defences: Defences) {
    const STATES: &[State] = &[&[1, 2], &[3, 4], &[5, 6]];
    let mut world = World::new(1, 4, 1, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let reader = world.reader(0, STATES);
    for state in &STATES[1..] {
        world.apply(set(OURS, "default/it/TCP", state));
    }
    reader.join().unwrap();
}

/// The same with two readers, of which a grace period may wait for one, both or none.
pub(crate) fn republish_to_two(defences: Defences) {
    const STATES: &[State] = &[&[1], &[2], &[3]];
    let mut world = World::new(1, 2, 2, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let readers = [0, 1].map(|reader| world.reader(reader, STATES));
    for state in &STATES[1..] {
        world.apply(set(OURS, "default/it/TCP", state));
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

/// A block is retired while a grace period is under way that need not wait for its reader, who may
/// have come after the start. The last publication wants that block and the one retired before.
pub(crate) fn retire_under_way(defences: Defences) {
    const STATES: &[State] = &[&[1], &[2], &[3], &[4, 5]];
    let mut world = World::new(1, 3, 1, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let reader = world.late_reader(0, STATES);
    for state in &STATES[1..] {
        world.apply(set(OURS, "default/it/TCP", state));
    }
    reader.join().unwrap();
}

/// Two frontends of one Service port go from one set to the next, one after the other, and the block
/// of the first set is reused as soon as the publisher lets it. The reader's is the last to leave.
pub(crate) fn share(defences: Defences) {
    const STATES: &[State] = &[&[1], &[1], &[1], &[2], &[3]];
    let sizes = Sizes { frontends: 2, services: 2, backends: 2 };
    let mut world = World::sized(sizes, 1, defences);
    for key in [OURS, OTHER] {
        world.apply(set(key, "default/it/TCP", &[1]));
    }
    let reader = world.reader(0, STATES);
    for key in [OTHER, OURS] {
        world.apply(set(key, "default/it/TCP", &[2]));
    }
    world.apply(set(OURS, "default/it/TCP", &[3]));
    reader.join().unwrap();
}

/// Another Service takes the frontend over, and gives it back.
pub(crate) fn rename(defences: Defences) {
    const STATES: &[State] = &[&[1], &[2], &[3]];
    let mut world = World::new(1, 2, 1, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let reader = world.reader(0, STATES);
    world.apply(set(OURS, "default/other/TCP", STATES[1]));
    world.apply(set(OURS, "default/it/TCP", STATES[2]));
    reader.join().unwrap();
}

/// The frontend goes and comes back before its key is deleted, with a block that must wait for the
/// readers of the old one.
pub(crate) fn gone_and_back(defences: Defences) {
    const STATES: &[State] = &[&[1], &[], &[2]];
    let mut world = World::new(1, 1, 1, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let reader = world.reader(0, STATES);
    world.apply(remove(OURS));
    world.apply(set(OURS, "default/it/TCP", STATES[2]));
    reader.join().unwrap();
}

/// Our frontend goes, its key is deleted, and another Service takes its hash element, its slot and
/// its block.
pub(crate) fn delete_and_reuse(defences: Defences) {
    const STATES: &[State] = &[&[1], &[], &[]];
    let mut world = World::new(1, 1, 1, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let reader = world.reader(0, STATES);
    world.apply(remove(OURS));
    world.settle();
    world.apply(set(OTHER, "default/other/TCP", &[2]));
    reader.join().unwrap();
    check(world.select(&OTHER), &[&[2]]);
}

/// Our key is deleted while the grace period that the removal started is under way, and another
/// Service takes its hash element as soon as the publisher lets it. There is room for another slot
/// and block, so that nothing but the element makes it wait.
pub(crate) fn purge_under_way(defences: Defences) {
    const STATES: &[State] = &[&[1], &[], &[]];
    let mut world = World::new(2, 2, 1, defences);
    world.apply(set(OURS, "default/it/TCP", STATES[0]));
    let reader = world.late_reader(0, STATES);
    world.apply(remove(OURS));
    world.maintain(true);
    world.apply(set(OTHER, "default/other/TCP", &[2]));
    // Without waiting, so that an insertion that comes too early meets readers. Two grace periods
    // may have to end first, and each call notices the end of one.
    world.maintain(false);
    world.maintain(false);
    reader.join().unwrap();
    world.settle();
    check(world.select(&OTHER), &[&[2]]);
}

/// The hash element is reused at once, as if a key were inserted right after another was deleted:
/// what the publisher never does.
pub(crate) fn reuse_the_element(defences: Defences) {
    let sizes = Sizes { frontends: 1, services: 2, backends: 2 };
    let tables = Arc::new(LoomTables::new(sizes, 1, defences));
    let mut store = LoomStore::new(tables.clone());
    for (slot, number) in [(0, 1), (1, 2)] {
        store.write_backends(Family::V4, slot, &[V4::read(&backend(number))]);
        store.publish(slot, Range { first: slot, count: 1 });
    }
    store.insert_frontends(Family::V4, &[(OURS, 0)]).unwrap();
    let reader = {
        let tables = tables.clone();
        loom::thread::spawn(move || check(choose(&tables, &V4::key(&OURS)), &[&[1], &[]]))
    };
    store.delete_frontends(Family::V4, &[OURS]).unwrap();
    store.insert_frontends(Family::V4, &[(OTHER, 1)]).unwrap();
    reader.join().unwrap();
}
