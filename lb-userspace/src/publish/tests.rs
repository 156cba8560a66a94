//! The publisher on plain memory: whatever the order of changes and grace periods, readers find
//! what is wanted, or, where a table is full, what they had.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
    rc::Rc,
};

use lb_common::{FrontendKey4, Selection, select};
use proptest::prelude::*;

use super::{Frontend, FrontendChange};
use super::{Grace, GraceError, Publisher, Reason, Sizes, memory::Memory};
use crate::plan::placement;

/// Grace periods that end when the test says so, or when the publisher has to wait for one.
#[derive(Clone, Default)]
struct Manual {
    under_way: Rc<Cell<bool>>,
    over: Rc<Cell<bool>>,
}

impl Grace for Manual {
    fn start(&mut self) -> Result<(), GraceError> {
        assert!(!self.under_way.replace(true), "one at a time");
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, GraceError> {
        let over = self.over.replace(false);
        if over {
            self.under_way.set(false);
        }
        Ok(over)
    }

    fn wait(&mut self) -> Result<(), GraceError> {
        assert!(self.under_way.replace(false));
        self.over.set(false);
        Ok(())
    }
}

type Twin = Publisher<Memory, Manual>;

fn twin(frontends: u32, backends: u32) -> (Twin, Manual) {
    let (sizes, grace) = (Sizes::new(frontends, backends), Manual::default());
    (Publisher::new(Memory::new(sizes), grace.clone(), sizes), grace)
}

fn key(number: u8) -> FrontendKey4 {
    FrontendKey4::new([10, 96, 0, number], 80, 6)
}

fn backends(count: u16) -> Vec<SocketAddrV4> {
    (0..count).map(|n| SocketAddrV4::new([10, 0, (n >> 8) as u8, n as u8].into(), 80)).collect()
}

fn set(number: u8, backends: Vec<SocketAddrV4>) -> FrontendChange {
    let name = format!("default/s{number}/TCP").into();
    FrontendChange { key: key(number), state: Some(Frontend { name, backends }) }
}

fn remove(number: u8) -> FrontendChange {
    FrontendChange { key: key(number), state: None }
}

/// What a connect may reach.
fn reachable(twin: &Twin, number: u8) -> Option<BTreeSet<SocketAddrV4>> {
    let backends = twin.store().backends_of(&key(number))?;
    Some(backends.iter().map(placement::address).collect())
}

fn wanted(count: u16) -> Option<BTreeSet<SocketAddrV4>> {
    Some(backends(count).into_iter().collect())
}

#[test]
fn a_frontend_without_backends_refuses_and_one_that_is_gone_does_not_exist() {
    let (mut twin, _) = twin(4, 8);
    assert!(twin.apply([set(1, vec![])]).unwrap().is_empty());
    assert_eq!(select(twin.store(), &key(1)), Selection::NoBackend);
    assert!(twin.apply([remove(1)]).unwrap().is_empty());
    assert_eq!(select(twin.store(), &key(1)), Selection::NotAFrontend);
    assert!(twin.store().frontends.contains_key(&key(1)), "the key is deleted later");
    twin.settle().unwrap();
    assert!(twin.store().frontends.is_empty() && twin.store().names.is_empty());
    assert_eq!(twin.stats().backends, 0);
}

#[test]
fn a_frontend_that_returns_before_its_key_is_deleted_needs_no_insertion() {
    let (mut twin, _) = twin(4, 8);
    twin.apply([set(1, backends(2))]).unwrap();
    twin.apply([remove(1), set(1, backends(1))]).unwrap();
    assert_eq!(reachable(&twin, 1), wanted(1));
    twin.settle().unwrap();
    assert_eq!(reachable(&twin, 1), wanted(1));
}

#[test]
fn no_key_is_inserted_between_a_deletion_and_the_end_of_a_grace_period() {
    let (mut twin, grace) = twin(4, 8);
    twin.apply([set(1, backends(1))]).unwrap();
    twin.apply([remove(1)]).unwrap();
    // The grace period that the removal started does not count: the deletion comes after.
    twin.maintain(true).unwrap();
    twin.apply([set(2, backends(1))]).unwrap();
    assert_eq!(reachable(&twin, 2), None);
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert_eq!(reachable(&twin, 2), None);
    grace.over.set(true);
    twin.maintain(false).unwrap();
    assert_eq!(reachable(&twin, 2), wanted(1));
}

#[test]
fn a_full_table_leaves_each_service_what_it_has_and_the_rest_of_the_batch_lands() {
    let (mut twin, _) = twin(8, 10);
    assert!(twin.apply([set(1, backends(4)), set(2, backends(4))]).unwrap().is_empty());
    let failures = twin.apply([set(1, backends(9)), set(2, backends(2)), set(3, backends(1))]);
    let failures = failures.unwrap();
    assert_eq!(failures.len(), 1);
    let text = format!("{}: {}", failures[0], failures[0].source);
    assert!(text.contains("default/s1/TCP") && text.contains("--max-backends"), "{text}");
    assert_eq!(reachable(&twin, 1), wanted(4));
    assert_eq!(reachable(&twin, 2), wanted(2));
    assert_eq!(reachable(&twin, 3), wanted(1));
}

#[test]
fn a_backend_that_is_gone_is_not_kept_for_want_of_room() {
    let (mut twin, grace) = twin(8, 10);
    assert!(twin.apply([set(1, backends(6))]).unwrap().is_empty());
    // Five in a row are not free: the frontend keeps the longest run of those that remain.
    let five: Vec<SocketAddrV4> =
        backends(6).into_iter().filter(|b| *b != backends(6)[4]).collect();
    assert_eq!(twin.apply([set(1, five.clone())]).unwrap().len(), 1);
    let kept: BTreeSet<SocketAddrV4> = backends(6)[..4].iter().copied().collect();
    assert_eq!(reachable(&twin, 1), Some(kept));
    // What was given up makes the room.
    grace.over.set(true);
    assert!(twin.maintain(false).unwrap().is_empty());
    assert_eq!(reachable(&twin, 1), Some(five.into_iter().collect()));
    twin.settle().unwrap();
    assert_eq!(twin.stats().backends, 5);
}

#[test]
fn room_that_a_change_notices_first_is_used_too() {
    let (mut twin, grace) = twin(8, 10);
    twin.apply([set(1, backends(6))]).unwrap();
    assert_eq!(twin.apply([set(2, backends(6)), set(1, backends(1))]).unwrap().len(), 1);
    grace.over.set(true);
    twin.apply([set(3, vec![])]).unwrap();
    assert!(!twin.is_settled());
    twin.maintain(false).unwrap();
    assert_eq!(reachable(&twin, 2), wanted(6));
}

#[test]
fn a_change_that_is_tried_again_uses_up_no_ids() {
    let (mut twin, grace) = twin(8, 10);
    twin.apply([set(1, backends(6))]).unwrap();
    twin.apply([set(2, backends(6))]).unwrap();
    for _ in 0..5 {
        twin.apply([set(1, backends(6))]).unwrap();
        twin.apply([set(3, backends(1)), set(3, backends(2))]).unwrap();
        grace.over.set(grace.under_way.get());
        twin.maintain(false).unwrap();
    }
    let ids = twin.store().backends_of(&key(3)).unwrap().iter().map(|backend| backend.id);
    assert!(ids.max() < Some(30), "six backends of the second would have been numbered each time");
}

#[test]
fn what_found_no_room_is_met_when_there_is_some_and_reported_once() {
    let (mut twin, grace) = twin(8, 10);
    twin.apply([set(1, backends(6))]).unwrap();
    assert_eq!(twin.apply([set(2, backends(6))]).unwrap().len(), 1);
    assert!(twin.apply([remove(1)]).unwrap().is_empty());
    assert_eq!(reachable(&twin, 2), None);
    grace.over.set(true);
    assert!(twin.maintain(false).unwrap().is_empty());
    assert_eq!(reachable(&twin, 2), wanted(6));
}

#[test]
fn the_frontends_table_names_its_own_flag() {
    let (mut twin, _) = twin(2, 10);
    let failures = twin.apply([set(1, vec![]), set(2, vec![]), set(3, vec![])]).unwrap();
    assert!(matches!(&failures[..], [failure] if matches!(failure.source,
        Reason::Full { table: "lb_frontends4", flag: "--max-frontends", .. })));
    // A frontend that is gone makes room without being asked to.
    assert!(twin.apply([remove(1), set(4, vec![])]).unwrap().is_empty());
    twin.settle().unwrap();
    assert_eq!(reachable(&twin, 4), wanted(0));
}

#[test]
fn waiting_for_a_grace_period_is_counted() {
    let (mut twin, _) = twin(2, 4);
    for round in 0..10u8 {
        let host = SocketAddrV4::new([10, 1, 0, round].into(), 80);
        let other = SocketAddrV4::new([10, 1, 1, round].into(), 80);
        assert!(twin.apply([set(1, vec![host, other])]).unwrap().is_empty());
    }
    // Two blocks fit: each change but the first two has to wait for one of them.
    assert_eq!(twin.stats().waits, 8);
    assert_eq!(twin.stats().publishes, 10);
}

#[test]
fn another_service_takes_over_a_frontend_in_place() {
    let (mut twin, _) = twin(2, 4);
    twin.apply([set(1, backends(1))]).unwrap();
    let frontend = Frontend { name: "default/other/TCP".into(), backends: backends(2) };
    twin.apply([FrontendChange { key: key(1), state: Some(frontend) }]).unwrap();
    assert_eq!(reachable(&twin, 1), wanted(2));
    let names: Vec<&String> = twin.store().names.values().collect();
    assert_eq!(names, ["default/other/TCP"]);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, BTreeSet<u8>),
    Remove(u8),
    GraceEnds,
    Idle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..6u8, prop::collection::btree_set(0..20u8, 0..8))
            .prop_map(|(number, hosts)| Step::Set(number, hosts)),
        2 => (0..6u8).prop_map(Step::Remove),
        2 => Just(Step::GraceEnds),
        1 => Just(Step::Idle),
    ]
}

proptest! {
    /// After any steps, each frontend that is listed has exactly its wanted backends, unless the
    /// publisher reported that it could not; and once settled, nothing is missing or left over.
    #[test]
    fn readers_find_what_is_wanted(
        steps in prop::collection::vec(step(), 1..80),
        capacity in 30..100u32,
    ) {
        let (mut twin, grace) = twin(8, capacity);
        let mut wanted: BTreeMap<u8, BTreeSet<SocketAddrV4>> = BTreeMap::new();
        for step in steps {
            let failures = match step {
                Step::Set(number, hosts) => {
                    let hosts: BTreeSet<SocketAddrV4> = hosts
                        .iter()
                        .map(|host| SocketAddrV4::new([10, 0, 0, *host].into(), 80))
                        .collect();
                    wanted.insert(number, hosts.clone());
                    twin.apply([set(number, hosts.into_iter().collect())])
                }
                Step::Remove(number) => {
                    wanted.remove(&number);
                    twin.apply([remove(number)])
                }
                Step::GraceEnds => {
                    grace.over.set(grace.under_way.get());
                    twin.maintain(false)
                }
                Step::Idle => twin.maintain(true),
            };
            for failure in failures.unwrap() {
                prop_assert!(twin.unmet.contains_key(&failure.key), "reported, so tried again");
            }
            for number in 0..6 {
                // Without a state its key may be waiting for a grace period.
                let Some(found) = reachable(&twin, number) else { continue };
                let wanted = wanted.get(&number);
                if twin.unmet.contains_key(&key(number)) {
                    prop_assert!(wanted.is_some_and(|wanted| found.is_subset(wanted)));
                } else {
                    prop_assert_eq!(Some(&found), wanted);
                }
            }
        }
        twin.settle().unwrap();
        twin.maintain(false).unwrap();
        twin.settle().unwrap();
        if twin.unmet.is_empty() {
            for number in 0..6 {
                let found = reachable(&twin, number);
                prop_assert_eq!(found.as_ref(), wanted.get(&number));
            }
            prop_assert_eq!(twin.store().frontends.len(), wanted.len());
            prop_assert_eq!(twin.store().names.len(), wanted.len());
            let used: usize = wanted.values().map(BTreeSet::len).sum();
            prop_assert_eq!(twin.stats().backends, used as u64);
            prop_assert_eq!(u64::from(twin.blocks.free()), u64::from(capacity) - used as u64);
        }
    }
}
