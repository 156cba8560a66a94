//! What is kept of a Pod while no search sees its namespace, and for how long.

use super::{world::World, *};

/// A Pod that opts out and was found with cookie 1, in a namespace that no search sees any more.
fn hidden() -> World {
    let world = World::new();
    world.put("10.0.0.1", &[1]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [1]);
    world.hide("10.0.0.1");
    world
}

fn with_uid(uid: &str) -> Object {
    let mut pod = labelled(pod("a", "10.0.0.1"), &[(OPT_OUT, "true")]);
    pod.metadata.uid = Some(uid.into());
    object(pod)
}

#[test]
fn a_search_that_finds_nothing_takes_nothing_away() {
    let world = hidden();
    let before = world.searches();
    // What is told of any Pod that opts out leads to a search.
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    world.put("10.0.0.2", &[2]);
    world.apply(out("b", "10.0.0.2"));
    assert_eq!(world.next(), [1, 2]);
    assert!(world.searches() >= before + 2);
}

#[test]
fn another_namespace_with_the_address_takes_its_place() {
    let world = hidden();
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    // Found by looking again, without another event.
    world.put("10.0.0.1", &[3]);
    assert_eq!(world.next(), [3]);
}

#[test]
fn a_stranger_that_was_there_before_does_not() {
    let world = World::new();
    world.put("10.0.0.1", &[1, 5]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [1, 5]);
    world.put("10.0.0.1", &[5]);
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    assert_eq!(world.all(), Vec::<Vec<u64>>::new());
    world.put("10.0.0.1", &[3, 5]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [3, 5]);
}

#[test]
fn a_pod_that_stops_opting_out_loses_it_for_good() {
    let world = hidden();
    world.apply(object(pod("a", "10.0.0.1")));
    assert_eq!(world.next(), NONE);
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    assert_eq!(world.all(), Vec::<Vec<u64>>::new());
}

#[test]
fn a_search_that_fails_keeps_nobody_out_and_brings_nothing_back() {
    let world = hidden();
    world.node.lock().unwrap().failures = usize::MAX;
    world.put("10.0.0.2", &[2]);
    world.apply(out("b", "10.0.0.2"));
    world.apply(object(pod("a", "10.0.0.1")));
    assert_eq!(world.next(), NONE);
    world.apply(out("a", "10.0.0.1"));
    world.node.lock().unwrap().failures = 0;
    assert_eq!(world.next(), [2]);
}

#[test]
fn a_pod_that_goes_leaves_nothing_to_the_next_one_with_its_address() {
    let world = hidden();
    world.delete(Kind::Pod, "shop", "a");
    assert_eq!(world.next(), NONE);
    world.apply(out("b", "10.0.0.1"));
    world.settle();
    assert_eq!(world.all(), Vec::<Vec<u64>>::new());
}

#[test]
fn nor_to_the_next_one_with_its_name() {
    let world = World::new();
    world.put("10.0.0.1", &[1]);
    world.apply(with_uid("first"));
    assert_eq!(world.next(), [1]);
    world.hide("10.0.0.1");
    // A list after a lost watch tells of the second one only.
    world.apply(with_uid("second"));
    assert_eq!(world.next(), NONE);
}

#[test]
fn an_address_that_a_pod_gave_up_is_not_its_any_more() {
    let world = hidden();
    world.apply(out("a", "10.0.0.9"));
    assert_eq!(world.next(), NONE);
}
