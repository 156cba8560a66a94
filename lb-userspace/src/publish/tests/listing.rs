//! Keys: when they are inserted and deleted, the marks of addresses that are another proxy's, and
//! what the kernel refuses.

use lb_common::{Earlier, Selection, V4, select::stays};

use super::*;
use crate::publish::{Family, Wire as _};

/// The mark of an address.
fn mark(number: u8) -> FrontendKey {
    FrontendKey { port: 0, protocol: Protocol::Any, ..key(number) }
}

fn known(number: u8) -> FrontendChange {
    let frontend = Frontend { kind: FrontendKind::Known, ..frontend(mark(number), "a/known", []) };
    put(mark(number), Frontend { target: Target::Pass, ..frontend })
}

#[test]
fn no_key_is_inserted_between_a_deletion_and_the_end_of_a_grace_period() {
    let (mut twin, grace) = twin(4, 8);
    twin.publish([set(key(1), "a/b/TCP", [1])]);
    twin.publish([remove(key(1))]);
    // The grace period that the removal started does not count: the deletion comes after.
    twin.maintain(true).unwrap();
    twin.publish([set(key(2), "a/c/TCP", [1]), set(key6(2), "a/c/TCP", [1])]);
    assert_eq!(twin.reachable(key(2)), None);
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert_eq!(twin.reachable(key(2)), None);
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert_eq!(twin.reachable(key(2)), hosts(key(2), [1]));
    assert_eq!(twin.reachable(key6(2)), hosts(key6(2), [1]));
}

#[test]
fn a_frontend_that_goes_before_it_is_listed_leaves_nothing() {
    let (mut twin, _) = twin(4, 8);
    twin.publish([set(key(1), "a/b/TCP", [1])]);
    twin.publish([remove(key(1))]);
    twin.maintain(true).unwrap();
    let node_port = Frontend { kind: FrontendKind::NodePort, ..frontend(key(2), "a/c/TCP", [1]) };
    twin.publish([put(key(2), node_port)]);
    assert_eq!(twin.store().node_ports.len(), 1);
    twin.publish([remove(key(2))]);
    assert!(twin.store().node_ports.is_empty());
    twin.settle().unwrap();
    assert!(twin.store().listed.is_empty() && twin.store().names.is_empty());
    assert_eq!(twin.stats().backends, 0);
}

#[test]
fn point_18_a_known_address_is_not_refused_and_one_that_is_nobodys_is() {
    let (mut twin, _) = twin(4, 8);
    twin.store.refuse_unserved = true;
    twin.publish([known(1)]);
    assert_eq!(twin.store().select(&key(1)), Selection::NotAFrontend);
    assert_eq!(twin.store().select(&key(2)), Selection::Unserved);
    twin.publish([remove(mark(1))]);
    twin.settle().unwrap();
    assert_eq!(twin.store().select(&key(1)), Selection::Unserved);
    assert!(twin.store().listed.is_empty());
}

/// Between the two, connects may pass or be balanced, but nothing is refused: also while a deletion
/// keeps the mark's key from being inserted.
#[test]
fn point_18_a_service_that_another_proxy_takes_over_is_not_refused_for_a_moment() {
    let (mut twin, grace) = twin(8, 8);
    twin.store.refuse_unserved = true;
    let two = [key(1), FrontendKey { port: 81, ..key(1) }];
    twin.publish([set(key(9), "a/z/TCP", [1])]);
    twin.publish(two.map(|key| set(key, "a/b/TCP", [1])));
    twin.publish([remove(key(9))]);
    twin.maintain(true).unwrap();
    twin.publish([known(1), remove(two[0]), remove(two[1])]);
    assert!(!twin.store().listed.contains_key(&mark(1)), "its key has to wait");
    for _ in 0..4 {
        assert!(two.iter().all(|key| twin.store().select(key) == Selection::NotAFrontend));
        grace.over.set(grace.under_way.get());
        twin.maintain(true).unwrap();
    }
    twin.settle().unwrap();
    assert_eq!(twin.store().listed.keys().copied().collect::<Vec<_>>(), [mark(1)]);
    assert_eq!(twin.store().select(&two[0]), Selection::NotAFrontend);

    twin.publish([remove(mark(1)), set(two[0], "a/b/TCP", [1])]);
    for _ in 0..4 {
        let found = twin.store().select(&two[0]);
        assert!(matches!(found, Selection::NotAFrontend | Selection::Backend(_)), "{found:?}");
        grace.over.set(grace.under_way.get());
        twin.maintain(true).unwrap();
    }
    twin.settle().unwrap();
    assert!(matches!(twin.store().select(&two[0]), Selection::Backend(_)));
    assert_eq!(twin.store().select(&two[1]), Selection::Unserved);
}

#[test]
fn what_the_kernel_refuses_leaves_nothing_and_is_tried_again_by_upkeep() {
    let (mut twin, _) = twin(8, 8);
    let one = |number| {
        let kind = FrontendKind::NodePort;
        put(key(number), Frontend { kind, ..frontend(key(number), "a/b/TCP", [1, 2]) })
    };
    twin.store.refuses = [key(1), key6(2)].into();
    let other =
        [set(key6(1), "a/c/TCP", [1]), set(key6(2), "a/d/TCP", []), pass(key6(3), "a/e/TCP")];
    let failures = twin.apply([one(1), one(2)].into_iter().chain(other)).unwrap();
    let failed: Vec<_> = failures.iter().map(|failure| failure.key).collect();
    assert_eq!(failed, [key(1), key6(2)]);
    assert_eq!(twin.reachable(key(2)), hosts(key(2), [1, 2]));
    assert_eq!(twin.reachable(key6(1)), hosts(key6(1), [1]));
    assert_eq!(twin.stats().backends, 3);
    assert_eq!(twin.service_id("a/d/TCP", Family::V6), None);
    assert_eq!(twin.store().names.len(), 3);

    twin.store.refuses.clear();
    assert!(twin.maintain(true).unwrap().is_empty());
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [1, 2]));
    assert_eq!(twin.store().select(&key6(2)), Selection::NoBackend);
    assert_eq!(twin.store().node_ports.len(), 1);
    twin.publish([remove(key(1)), remove(key(2))]);
    assert_eq!(twin.store().node_ports.len(), 0);
}

#[test]
fn a_fence_passes_with_a_grace_period_that_starts_after_it() {
    let (mut twin, grace) = twin(4, 8);
    twin.publish([set(key(1), "a/b/TCP", [1])]);
    assert!(twin.is_settled() && !grace.under_way.get());
    let fence = twin.fence();
    assert!(!twin.is_settled());
    twin.maintain(false).unwrap();
    assert!(grace.under_way.get());
    let late = twin.fence();
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert!(twin.is_past(fence) && !twin.is_past(late) && grace.under_way.get());
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert!(twin.is_past(late) && twin.is_settled() && !grace.under_way.get());
}

#[test]
fn names_that_the_kernel_refuses_are_tried_again_by_upkeep() {
    let (mut twin, _) = twin(8, 16);
    twin.store.max_names = 1;
    let ports = [(1, "a/b/TCP"), (2, "a/c/TCP"), (3, "a/d/TCP")];
    twin.publish(ports.map(|(number, name)| set(key(number), name, [1])));
    assert_eq!(twin.reachable(key(3)), hosts(key(3), [1]), "served without a name");
    assert_eq!(twin.store().names.len(), 1);
    // One that goes unnamed leaves no name to delete.
    twin.publish([remove(key(2))]);
    twin.settle().unwrap();
    assert!(!twin.is_settled());
    twin.maintain(true).unwrap();
    assert!(!twin.is_settled(), "there is still no room");
    twin.store.max_names = 8;
    twin.maintain(true).unwrap();
    let names: Vec<_> = twin.store().names.values().cloned().collect();
    assert_eq!(names, ["a/b/TCP", "a/d/TCP"]);
    assert!(twin.is_settled());
    twin.publish([remove(key(1)), remove(key(3))]);
    twin.settle().unwrap();
    assert!(twin.store().names.is_empty());
}

#[test]
fn a_frontend_that_goes_before_its_key_is_inserted_leaves_nothing_in_its_slot() {
    let (mut twin, _) = twin(4, 8);
    let port = "a/b/TCP";
    twin.publish([set(key(1), port, [1]), set(key(2), port, [1]), set(key(3), "a/c/TCP", [1])]);
    let slot = twin.store().listed[&key(1)];
    let earlier = Earlier { backend: twin.ids_of(key(1))[0], hint: 0 };
    let remembers = |twin: &Twin| {
        let (store, key) = (twin.store(), V4::key(&key(1)));
        stays::<V4, _, _>(store, store, &key, slot, earlier).is_some()
    };
    assert!(remembers(&twin));
    twin.publish([remove(key(1))]);
    twin.settle().unwrap();
    // It takes the same slot again, and its key waits for the end of a deletion.
    twin.publish([remove(key(3))]);
    twin.maintain(true).unwrap();
    twin.publish([set(key(1), port, [1])]);
    assert_eq!(twin.reachable(key(1)), None);
    assert!(remembers(&twin), "the slot is another one");
    twin.publish([remove(key(1))]);
    assert!(!remembers(&twin));
}
