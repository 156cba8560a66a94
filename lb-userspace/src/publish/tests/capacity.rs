//! Tables that are full.

use super::*;
use crate::publish::{Family, Reason};

#[test]
fn a_full_table_leaves_each_service_what_it_has_and_the_rest_of_the_batch_lands() {
    let (mut twin, _) = twin(8, 10);
    twin.publish([set(key(1), "a/one/TCP", 0..4), set(key(2), "a/two/TCP", 0..4)]);
    let failures = twin.apply([
        set(key(1), "a/one/TCP", 0..9),
        set(key(2), "a/two/TCP", 0..2),
        set(key(3), "a/three/TCP", 0..1),
    ]);
    let failures = failures.unwrap();
    assert_eq!(failures.len(), 1);
    let text = format!("{}: {}", failures[0], failures[0].source);
    assert!(text.starts_with("a/one/TCP (10.96.0.1:80/TCP)"), "{text}");
    assert!(text.contains("lb_backends4") && text.contains("--max-backends"), "{text}");
    assert_eq!(twin.reachable(key(1)), hosts(key(1), 0..4));
    assert_eq!(twin.reachable(key(2)), hosts(key(2), 0..2));
    assert_eq!(twin.reachable(key(3)), hosts(key(3), 0..1));
}

#[test]
fn each_family_has_room_of_its_own_for_backends() {
    let (mut twin, _) = twin(8, 4);
    twin.publish([set(key(1), "a/b/TCP", 0..4), set(key6(1), "a/b/TCP", 0..4)]);
    let failures = twin.apply([set(key6(2), "a/c/TCP", 0..1)]).unwrap();
    assert!(matches!(&failures[..], [failure] if matches!(failure.source,
        Reason::Full { table: "lb_backends6", needed: 1, .. })));
    twin.publish([set(key(1), "a/b/TCP", 0..0)]);
    twin.settle().unwrap();
    assert_eq!(twin.reachable(key6(2)), None, "what IPv4 gives up is none of IPv6");
}

#[test]
fn a_backend_that_is_gone_is_not_kept_for_want_of_room() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([set(key(1), "a/b/TCP", 0..6)]);
    // Five in a row are not free: the frontend keeps the longest run of those that remain.
    let five = [0, 1, 2, 3, 5];
    assert_eq!(twin.apply([set(key(1), "a/b/TCP", five)]).unwrap().len(), 1);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), 0..4));
    // What was given up makes the room.
    grace.over.set(true);
    assert!(twin.maintain(false).unwrap().is_empty());
    assert_eq!(twin.reachable(key(1)), hosts(key(1), five));
    twin.settle().unwrap();
    assert_eq!(twin.stats().backends, 5);
}

#[test]
fn room_that_a_change_notices_first_is_used_too() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([set(key(1), "a/one/TCP", 0..6)]);
    let changes = [set(key(2), "a/two/TCP", 0..6), set(key(1), "a/one/TCP", 0..1)];
    assert_eq!(twin.apply(changes).unwrap().len(), 1);
    grace.over.set(true);
    twin.publish([set(key(3), "a/three/TCP", [])]);
    assert!(!twin.is_settled());
    twin.maintain(false).unwrap();
    assert_eq!(twin.reachable(key(2)), hosts(key(2), 0..6));
}

#[test]
fn a_change_that_is_tried_again_uses_up_no_ids() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([set(key(1), "a/one/TCP", 0..6)]);
    assert_eq!(twin.apply([set(key(2), "a/two/TCP", 0..6)]).unwrap().len(), 1);
    for _ in 0..5 {
        twin.publish([set(key(1), "a/one/TCP", 0..6)]);
        twin.publish([set(key(3), "a/three/TCP", 0..1)]);
        twin.publish([set(key(3), "a/three/TCP", 0..2)]);
        grace.over.set(grace.under_way.get());
        twin.maintain(false).unwrap();
    }
    // Six of the first, and at most two for each time that the third changed.
    assert!(twin.store().next_ids.1 <= 17, "{:?}", twin.store().next_ids);
    assert_eq!(twin.service_id("a/three/TCP", Family::V4), Some(2));
    assert_eq!(twin.service_id("a/two/TCP", Family::V4), None);
}

#[test]
fn what_found_no_room_is_met_when_there_is_some_and_reported_once() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([set(key(1), "a/one/TCP", 0..6)]);
    assert_eq!(twin.apply([set(key(2), "a/two/TCP", 0..6)]).unwrap().len(), 1);
    twin.publish([remove(key(1))]);
    assert_eq!(twin.reachable(key(2)), None);
    grace.over.set(true);
    assert!(twin.maintain(false).unwrap().is_empty());
    assert_eq!(twin.reachable(key(2)), hosts(key(2), 0..6));
}

#[test]
fn what_finds_no_room_costs_the_others_nothing() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([set(key(1), "a/one/TCP", 0..6), set(key(2), "a/two/TCP", [0])]);
    // Kept as it is, but for what is gone, until there is room for all of it.
    assert_eq!(twin.apply([set(key(1), "a/one/TCP", 0..9)]).unwrap().len(), 1);
    let mut round = |host| {
        let before = twin.store().read.get();
        twin.publish([set(key(2), "a/two/TCP", [host])]);
        grace.over.set(true);
        assert!(twin.maintain(false).unwrap().is_empty());
        twin.store().read.get() - before
    };
    // The one backend of the other set, to carry its id on.
    assert_eq!([round(1), round(0), round(1)], [1, 1, 1]);
    twin.publish([set(key(1), "a/one/TCP", 0..2)]);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), 0..2));
}

#[test]
fn a_takeover_that_finds_no_room_keeps_what_both_want() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([set(key(1), "a/one/TCP", 0..6)]);
    assert_eq!(twin.apply([set(key(1), "a/two/TCP", 0..5)]).unwrap().len(), 1);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), 0..5));
    assert_eq!(twin.service_id("a/two/TCP", Family::V4), None);
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert_eq!(twin.reachable(key(1)), hosts(key(1), 0..5));
    assert_eq!(twin.service_id("a/one/TCP", Family::V4), None);
    assert_eq!(twin.store().names.len(), 1);
}

#[test]
fn the_frontends_table_names_its_own_flag() {
    let (mut twin, _) = twin(2, 10);
    let failures = twin.apply([1, 2, 3].map(|number| set(key(number), "a/b/TCP", []))).unwrap();
    assert!(matches!(&failures[..], [failure] if matches!(failure.source,
        Reason::Full { table: "lb_frontends4", flag: "--max-frontends", .. })));
    // Both families count.
    let failures = twin.apply([set(key6(1), "a/b/TCP", [])]).unwrap();
    assert!(matches!(&failures[..], [failure] if matches!(failure.source,
        Reason::Full { table: "lb_frontends6", .. })));
    // A frontend that is gone makes room without being asked to.
    twin.publish([remove(key(1)), set(key(4), "a/c/TCP", [])]);
    twin.settle().unwrap();
    assert_eq!(twin.reachable(key(4)), hosts(key(4), []));
}

#[test]
fn waiting_for_a_grace_period_is_counted() {
    let (mut twin, _) = twin(2, 4);
    for round in 0..10u8 {
        twin.publish([set(key(1), "a/b/TCP", [2 * round, 2 * round + 1])]);
    }
    // Two blocks fit: each change but the first two has to wait for one of them.
    assert_eq!(twin.stats().waits, 8);
    assert_eq!(twin.stats().publishes, 10);
}

#[test]
fn in_a_full_table_that_changes_all_the_time_a_key_waits_for_one_change_at_most() {
    for (over, waits) in [(true, 0), (false, 7)] {
        let (mut twin, grace) = twin(8, 10);
        twin.publish((0..8).map(|number| set(key(number), "a/b/TCP", [])));
        for number in 8..16 {
            grace.over.set(over);
            twin.publish([remove(key(number - 8)), set(key(number), "a/b/TCP", [])]);
            // Its own deletion forbids this one for now; the one before is not put off for that.
            assert_eq!(twin.reachable(key(number)), None);
            assert!(number == 8 || twin.reachable(key(number - 1)).is_some(), "{number}");
        }
        assert_eq!(twin.stats().waits, waits);
    }
}
