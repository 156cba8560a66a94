//! Ids from one generation of tables to the next.

use super::*;
use crate::publish::Family;

/// The next generation of a publisher's tables.
fn next_generation(old: &Twin) -> Twin {
    let store = old.store();
    let entries = || store.listed.keys().map(|key| (*key, store.service(key).unwrap()));
    let services = entries().map(|(key, service)| {
        (Family::of(&key.address), store.names[&service.id].as_str().into(), service.id)
    });
    let backends = entries().flat_map(|(key, service)| {
        let backends = store.backends_of(&key).unwrap_or_default();
        backends.into_iter().map(move |backend| (service.id, backend.address, backend.id))
    });
    let ids = Ids::carried_over(store.next_ids, services, backends).unwrap();
    let sizes = Sizes::new(8, 100);
    Publisher::new(Memory::new(sizes), Manual::default(), sizes, ids)
}

#[test]
fn what_stays_keeps_its_ids_across_generations() {
    let (mut old, _) = twin(8, 100);
    old.publish([
        set(key(1), "a/gone/TCP", [1, 2]),
        set(key(2), "a/b/TCP", 1..=4),
        set(key(3), "a/b/TCP", [2, 3]),
        set(key6(2), "a/b/TCP", 1..=4),
    ]);
    old.publish([set(key(2), "a/b/TCP", [4, 5, 2])]);
    let (whole, local, six) = (old.ids_of(key(2)), old.ids_of(key(3)), old.ids_of(key6(2)));

    let mut new = next_generation(&old);
    // In another order, at other addresses, and not all of it.
    new.publish([set(key6(9), "a/b/TCP", 1..=4), set(key(9), "a/new/TCP", [1])]);
    new.publish([set(key(3), "a/b/TCP", [2, 3, 9]), set(key(2), "a/b/TCP", [4, 5, 2])]);
    assert_eq!(new.ids_of(key(2)), whole);
    assert_eq!(new.ids_of(key(3))[..2], local);
    assert_eq!(new.ids_of(key6(9)), six);
    for family in [Family::V4, Family::V6] {
        assert_eq!(new.service_id("a/b/TCP", family), old.service_id("a/b/TCP", family));
    }
    // What is new has ids that nobody had.
    let used = [1, 2, 3].map(key).into_iter().chain([key6(2)]).flat_map(|key| old.ids_of(key));
    let highest = used.max().unwrap();
    assert!(new.ids_of(key(9))[0] > highest && new.ids_of(key(3))[2] > highest);
    assert!(new.service_id("a/new/TCP", Family::V4) >= Some(old.store().next_ids.0));
}

#[test]
fn a_generation_that_publishes_nothing_hands_the_next_ids_on() {
    let (mut old, _) = twin(8, 100);
    old.publish([set(key(1), "a/b/TCP", 1..=4)]);
    let new = next_generation(&next_generation(&old));
    assert_eq!(new.store().next_ids, old.store().next_ids);
}

#[test]
fn the_generation_before_is_forgotten_and_nothing_changes() {
    let (mut old, _) = twin(8, 100);
    old.publish([set(key(1), "a/b/TCP", 1..=4)]);
    let mut new = next_generation(&old);
    new.publish([set(key(1), "a/b/TCP", 1..=3)]);
    new.forget_earlier_ids();
    new.publish([set(key(1), "a/b/TCP", 1..=4)]);
    assert_eq!(new.ids_of(key(1)), [1, 2, 3, 5]);
}
