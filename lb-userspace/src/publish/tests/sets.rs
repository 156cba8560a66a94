//! Frontends of one Service port that share their backends.

use super::*;
use crate::publish::Family;

#[test]
fn frontends_of_a_port_with_equal_backends_share_one_block() {
    let (mut twin, _) = twin(8, 100);
    let all = [1, 2, 3].map(key);
    // Not one allocation: equal content is what counts.
    twin.publish(all.map(|key| set(key, "a/b/TCP", 1..=10)));
    for round in 1..=4u8 {
        let ranges = all.map(|key| twin.store().service(&key).unwrap().range);
        assert!(ranges[0] == ranges[1] && ranges[1] == ranges[2], "{ranges:?}");
        assert_eq!(twin.store().written[Family::V4], usize::from(round));
        assert_eq!(twin.stats().backends, 10);
        twin.publish(all.map(|key| set(key, "a/b/TCP", round + 1..=round + 10)));
    }
    assert_eq!(twin.store().names.len(), 1);
}

#[test]
fn ports_of_other_names_share_nothing() {
    let (mut twin, _) = twin(8, 100);
    twin.publish([set(key(1), "a/b:x/TCP", [1, 2]), set(key(2), "a/b:y/TCP", [1, 2])]);
    assert_eq!(twin.stats().backends, 4);
    assert!(twin.ids_of(key(1)).iter().all(|id| !twin.ids_of(key(2)).contains(id)));
}

#[test]
fn point_11_a_local_set_has_the_ids_of_the_whole_one() {
    let (mut twin, _) = twin(8, 100);
    let (cluster, local) = (key(1), key(2));
    twin.publish([set(cluster, "a/b/TCP", 1..=5), set(local, "a/b/TCP", [2, 4])]);
    assert_eq!(twin.ids_of(cluster), [1, 2, 3, 4, 5]);
    assert_eq!(twin.ids_of(local), [2, 4]);
    // One comes, to both: whichever is told first, the id is one.
    twin.publish([set(local, "a/b/TCP", [2, 4, 6])]);
    twin.publish([set(cluster, "a/b/TCP", 1..=6)]);
    assert_eq!(twin.ids_of(local), [2, 4, 6]);
    assert_eq!(twin.ids_of(cluster), [1, 2, 3, 4, 5, 6]);
    // One goes from the whole set, and comes back from the local one.
    twin.publish([set(cluster, "a/b/TCP", [1, 5])]);
    twin.publish([set(cluster, "a/b/TCP", [1, 4, 5])]);
    assert_eq!(twin.ids_of(cluster), [1, 4, 5]);
    // One that stands nowhere any more comes as a new one.
    twin.publish([set(cluster, "a/b/TCP", [1, 3, 5])]);
    assert_eq!(twin.ids_of(cluster), [1, 5, 7]);
}

#[test]
fn sets_that_become_equal_become_one_and_part_again() {
    let (mut twin, _) = twin(8, 100);
    twin.publish([set(key(1), "a/b/TCP", 1..=5), set(key(2), "a/b/TCP", [2, 4])]);
    twin.publish([set(key(1), "a/b/TCP", [2, 4])]);
    assert_eq!(twin.stats().backends, 2);
    let (a, b) = (twin.store().service(&key(1)), twin.store().service(&key(2)));
    assert_eq!(a.unwrap().range, b.unwrap().range);
    twin.publish([set(key(2), "a/b/TCP", [4])]);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [2, 4]));
    assert_eq!(twin.reachable(key(2)), hosts(key(2), [4]));
    assert_eq!(twin.ids_of(key(2)), [4]);
}

#[test]
fn a_block_is_not_reused_before_its_last_frontend_has_left_it() {
    let (mut twin, _) = twin(8, 6);
    let both = [key(1), key(2)];
    twin.publish(both.map(|key| set(key, "a/b/TCP", [1, 2, 3])));
    twin.publish([set(key(1), "a/b/TCP", [1, 2])]);
    // Waits for every grace period that can help.
    twin.publish([set(key(3), "a/c/TCP", [9])]);
    assert_eq!(twin.apply([set(key(4), "a/d/TCP", [7, 8, 9])]).unwrap().len(), 1);
    assert_eq!(twin.reachable(key(2)), hosts(key(2), [1, 2, 3]));
    twin.publish([remove(key(2))]);
    twin.settle().unwrap();
    twin.maintain(false).unwrap();
    twin.settle().unwrap();
    assert_eq!(twin.reachable(key(4)), hosts(key(4), [7, 8, 9]));
}

#[test]
fn a_shared_set_is_narrowed_for_each_frontend_that_is_told() {
    let (mut twin, grace) = twin(8, 10);
    let both = [key(1), key(2)];
    twin.publish(both.map(|key| set(key, "a/b/TCP", 1..=6)));
    let wanted = [1, 2, 3, 4, 6];
    // Five in a row are not free.
    assert_eq!(twin.apply([set(key(1), "a/b/TCP", wanted)]).unwrap().len(), 1);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), 1..=4));
    assert_eq!(twin.reachable(key(2)), hosts(key(2), 1..=6), "it may still want all");
    assert_eq!(twin.apply([set(key(2), "a/b/TCP", wanted)]).unwrap().len(), 1);
    assert_eq!(twin.reachable(key(2)), hosts(key(2), 1..=4));
    assert_eq!(twin.stats().backends, 4);
    // What both gave up makes the room for both.
    grace.over.set(true);
    assert!(twin.maintain(false).unwrap().is_empty());
    for key in both {
        assert_eq!(twin.reachable(key), hosts(key, wanted));
    }
    assert_eq!(
        twin.ids_of(key(1)),
        wanted.map(u32::from)[..4].iter().chain(&[7]).copied().collect::<Vec<_>>()
    );
    twin.settle().unwrap();
    assert_eq!(twin.stats().backends, 5);
}

#[test]
fn what_a_narrowed_frontend_gave_up_is_free_when_the_others_leave() {
    let (mut twin, grace) = twin(8, 10);
    twin.publish([1, 2].map(|number| set(key(number), "a/b/TCP", 1..=6)));
    assert_eq!(twin.apply([set(key(1), "a/b/TCP", [1, 2, 3, 4, 6])]).unwrap().len(), 1);
    twin.publish([remove(key(2))]);
    assert_eq!(twin.stats().backends, 4);
    grace.over.set(true);
    assert!(twin.maintain(false).unwrap().is_empty());
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [1, 2, 3, 4, 6]));
}
