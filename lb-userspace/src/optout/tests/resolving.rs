//! When Pods are looked for, and what is handed out.

use super::{world::World, *};

#[test]
fn what_is_there_is_handed_out_before_synced() {
    let world = World::new();
    world.put("10.0.0.1", &[7]);
    world.put("10.0.0.2", &[8]);
    world.put("10.0.0.3", &[9]);
    world.apply(out("a", "10.0.0.1"));
    world.apply(object(pod("b", "10.0.0.2")));
    world.apply(out("c", "10.0.0.3"));
    world.settle();
    assert_eq!(world.all().last(), Some(&vec![7, 9]));
}

#[test]
fn nobody_opts_out_nothing_is_searched_and_that_is_told_once() {
    let world = World::new();
    world.apply(object(pod("a", "10.0.0.1")));
    world.settle();
    world.apply(namespace("shop", &[("team", "x")]));
    world.delete(Kind::Pod, "shop", "a");
    world.settle();
    assert_eq!(world.all(), [NONE]);
    assert_eq!(world.searches(), 0);
}

#[test]
fn a_namespace_that_comes_later_is_found() {
    let world = World::new();
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    assert_eq!(world.all(), [NONE]);
    // Found by looking again, without another event.
    world.put("10.0.0.1", &[7]);
    assert_eq!(world.next(), [7]);
    assert!(world.searches() >= 2);
}

#[test]
fn pods_and_namespaces_that_change_change_the_set() {
    let world = World::new();
    for (address, cookie) in [("10.0.0.1", 1), ("10.0.0.2", 2)] {
        world.put(address, &[cookie]);
    }
    world.apply(out("a", "10.0.0.1"));
    world.apply(object(pod("b", "10.0.0.2")));
    world.settle();
    assert_eq!(world.all().pop(), Some(vec![1]));
    world.apply(namespace("shop", &[(OPT_OUT, "true")]));
    assert_eq!(world.next(), [1, 2]);
    world.delete(Kind::Pod, "shop", "a");
    assert_eq!(world.next(), [2]);
    world.delete(Kind::Namespace, "", "shop");
    assert_eq!(world.next(), NONE);
    world.apply(out("b", "10.0.0.2"));
    assert_eq!(world.next(), [2]);
    // Its label goes.
    world.apply(object(pod("b", "10.0.0.2")));
    assert_eq!(world.next(), NONE);
}

#[test]
fn a_sandbox_made_anew_is_found_when_something_is_told_of_its_pod() {
    let world = World::new();
    world.put("10.0.0.1", &[1]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [1]);
    world.put("10.0.0.1", &[2]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [2]);
    // Nothing of other Pods leads to a search.
    let before = world.searches();
    world.apply(object(pod("b", "10.0.0.9")));
    world.settle();
    assert_eq!(world.searches(), before);
}

#[test]
fn every_namespace_with_the_address_opts_out() {
    let world = World::new();
    world.put("10.0.0.1", &[1, 5]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [1, 5]);
}

#[test]
fn a_search_that_fails_keeps_the_set_and_is_made_again() {
    let world = World::new();
    world.put("10.0.0.1", &[1]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [1]);
    world.put("10.0.0.2", &[2]);
    world.node.lock().unwrap().failures = usize::MAX;
    world.apply(out("b", "10.0.0.2"));
    world.settle();
    assert_eq!(world.all(), Vec::<Vec<u64>>::new());
    world.node.lock().unwrap().failures = 0;
    assert_eq!(world.next(), [1, 2]);
}

#[test]
fn a_first_search_that_fails_is_waited_for() {
    let world = World::new();
    world.put("10.0.0.1", &[1]);
    world.node.lock().unwrap().failures = 2;
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    assert_eq!(world.all(), [[1]], "nobody was told before that nobody opts out");
    assert_eq!(world.searches(), 3);
}

#[test]
fn a_search_that_fails_after_another_is_waited_for_too() {
    let world = World::new();
    world.put("10.0.0.1", &[1]);
    world.put("10.0.0.2", &[2]);
    world.apply(out("a", "10.0.0.1"));
    assert_eq!(world.next(), [1]);
    world.node.lock().unwrap().failures = 2;
    world.apply(out("b", "10.0.0.2"));
    world.settle();
    assert_eq!(world.all(), [[1, 2]]);
}

#[test]
fn a_first_search_that_fails_for_good_is_not_waited_for_longer() {
    let world = World::new();
    world.node.lock().unwrap().failures = usize::MAX;
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    assert_eq!(world.all(), [NONE]);
}

#[test]
fn an_old_kernel_is_asked_once() {
    let world = World::new();
    world.node.lock().unwrap().old = true;
    world.apply(out("a", "10.0.0.1"));
    world.settle();
    world.apply(out("b", "10.0.0.2"));
    world.settle();
    assert_eq!(world.all(), [NONE]);
    assert_eq!(world.searches(), 1);
}

#[test]
fn other_events_pass() {
    let world = World::new();
    assert!(world.opt_outs.take(Event::LocalAddresses(Vec::new())).is_some());
    let service = key(Kind::Service, "shop", "a");
    assert!(world.opt_outs.take(Event::Delete(service)).is_some());
}
