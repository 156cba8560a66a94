//! Every interleaving of the publisher with connects, by loom.
//!
//! The writer is the agent's own [`Publisher`], the reader is `lb_common::select`, the code that
//! runs in the kernel; only the tables are modelled ([`tables`]). Loom knows the C11 memory model,
//! so a store that lacks its release ordering is noticed, as is a block, slot or hash element that
//! is reused too early. The tests whose names begin with `without` take one defence out and must
//! fail: they prove that the others can.
#![forbid(unsafe_code)]

mod tables;

use std::{net::SocketAddrV4, sync::Arc as StdArc};

use lb_common::{FrontendKey4, FrontendValue, Range, Selection, select};
use lb_userspace::{
    model::{Frontend, FrontendChange},
    publish::{Publisher, Sizes, Store as _},
};
use loom::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tables::{Defences, LoomGrace, LoomStore, LoomTables};

/// The frontend that readers connect to.
const OURS: FrontendKey4 = FrontendKey4::new([10, 96, 0, 1], 80, 6);
/// Another Service's.
const OTHER: FrontendKey4 = FrontendKey4::new([10, 96, 0, 2], 80, 6);

/// A backend of `OURS` or, from 100 on, of `OTHER`.
fn backend(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 0, number].into(), 8000 + u16::from(number))
}

fn set(key: FrontendKey4, backends: &[u8]) -> FrontendChange {
    let backends = backends.iter().map(|number| backend(*number)).collect();
    FrontendChange { key, state: Some(Frontend { name: "default/it/TCP".into(), backends }) }
}

fn remove(key: FrontendKey4) -> FrontendChange {
    FrontendChange { key, state: None }
}

/// The number of a backend that was chosen, if it is one at all: both words of its entry must be
/// of the same backend.
fn chosen(selection: Selection) -> u8 {
    let Selection::Backend(found) = selection else { panic!("{selection:?}, not a backend") };
    let number = found.address[3];
    assert_eq!(found.address, backend(number).ip().octets(), "half of a backend");
    assert_eq!(found.port, backend(number).port(), "half of a backend");
    number
}

/// Runs a scenario in every interleaving, and says how many there were.
fn explore(name: &str, scenario: impl Fn() + Sync + Send + 'static) {
    let builder = loom::model::Builder::new();
    let count = StdArc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        scenario();
    });
    eprintln!("{name}: {} interleavings", count.load(std::sync::atomic::Ordering::Relaxed));
}

/// A service is republished until its first block is reused, while a connect chooses from it. The
/// connect must get a backend of a set that was published between its start and its end.
fn republish(defences: Defences) {
    const SETS: [&[u8]; 3] = [&[1, 2], &[3, 4], &[5, 6]];
    // Room for two sets: the third needs the first one's block.
    let sizes = Sizes { frontends: 1, services: 1, backends: 4 };
    let tables = Arc::new(LoomTables::new(sizes, defences));
    let mut publisher =
        Publisher::new(LoomStore::new(tables.clone()), LoomGrace::new(tables.clone()), sizes);
    assert!(publisher.apply([set(OURS, SETS[0])]).unwrap().is_empty());
    // The set whose publication was the last to start, and the last to end.
    let started = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));

    let reader = {
        let (tables, started, ended) = (tables.clone(), started.clone(), ended.clone());
        loom::thread::spawn(move || {
            let first = ended.load(Ordering::Acquire);
            let number = chosen(tables.read(|tables| select(tables, &OURS)));
            let last = started.load(Ordering::Relaxed);
            let allowed = &SETS[first..=last];
            assert!(
                allowed.iter().any(|set| set.contains(&number)),
                "backend {number} was in none of {allowed:?}"
            );
        })
    };
    for (number, backends) in SETS.iter().enumerate().skip(1) {
        started.store(number, Ordering::Relaxed);
        assert!(publisher.apply([set(OURS, backends)]).unwrap().is_empty());
        ended.store(number, Ordering::Release);
    }
    reader.join().unwrap();
}

#[test]
fn a_connect_sees_a_whole_set_while_its_block_is_reused() {
    explore("republish", || republish(Defences::default()));
}

#[test]
#[should_panic(expected = "backend")]
fn without_the_grace_period_a_connect_sees_a_reused_block() {
    explore("", || republish(Defences { grace: false, ..Defences::default() }));
}

#[test]
#[should_panic(expected = "backend")]
fn without_the_release_store_a_connect_sees_an_unwritten_block() {
    explore("", || republish(Defences { release: false, ..Defences::default() }));
}

/// Our frontend goes away, its key is deleted, and another Service takes its hash element, its
/// slot and its block. A connect to our address must get our backend or nothing.
fn delete_and_reuse(defences: Defences) {
    let sizes = Sizes { frontends: 1, services: 1, backends: 1 };
    let tables = Arc::new(LoomTables::new(sizes, defences));
    let mut publisher =
        Publisher::new(LoomStore::new(tables.clone()), LoomGrace::new(tables.clone()), sizes);
    assert!(publisher.apply([set(OURS, &[1])]).unwrap().is_empty());

    let reader = {
        let tables = tables.clone();
        loom::thread::spawn(move || match tables.read(|tables| select(tables, &OURS)) {
            Selection::NotAFrontend => {}
            found => assert_eq!(chosen(found), 1, "another Service's backend"),
        })
    };
    assert!(publisher.apply([remove(OURS)]).unwrap().is_empty());
    assert!(publisher.settle().unwrap().is_empty());
    assert!(publisher.apply([set(OTHER, &[100])]).unwrap().is_empty());
    reader.join().unwrap();
    assert_eq!(chosen(tables.read(|tables| select(tables, &OTHER))), 100);
}

#[test]
fn a_connect_to_a_deleted_frontend_never_reaches_another_service() {
    explore("delete and reuse", || delete_and_reuse(Defences::default()));
}

#[test]
#[should_panic(expected = "another Service's backend")]
fn without_the_grace_period_a_connect_reaches_another_service() {
    explore("", || delete_and_reuse(Defences { grace: false, ..Defences::default() }));
}

/// Only the hash element is reused, and at once, as if a key were inserted right after another was
/// deleted: what the publisher never does. Slot and block are others, so that nothing but the
/// value can mislead the reader.
fn reuse_the_element(defences: Defences) {
    let sizes = Sizes { frontends: 1, services: 2, backends: 2 };
    let tables = Arc::new(LoomTables::new(sizes, defences));
    let mut store = LoomStore::new(tables.clone());
    for (slot, (key, number)) in [(OURS, 1), (OTHER, 100)].into_iter().enumerate() {
        let slot = slot as u32;
        store.write_backends(slot, &[LoomTables::entry(backend(number))]);
        store.publish(slot, Range { first: slot, count: 1 });
        if key == OURS {
            store.insert_frontends(&[(OURS, FrontendValue { slot, tag: OURS.tag() })]).unwrap();
        }
    }
    let reader = {
        let tables = tables.clone();
        loom::thread::spawn(move || match tables.read(|tables| select(tables, &OURS)) {
            Selection::NotAFrontend | Selection::Unsettled => {}
            found => assert_eq!(chosen(found), 1, "another Service's backend"),
        })
    };
    store.delete_frontends(&[OURS]).unwrap();
    store.insert_frontends(&[(OTHER, FrontendValue { slot: 1, tag: OTHER.tag() })]).unwrap();
    reader.join().unwrap();
}

#[test]
fn the_tag_tells_that_a_hash_element_was_reused() {
    let defences = Defences { whole_values: true, ..Defences::default() };
    explore("reuse of a hash element", move || reuse_the_element(defences));
}

#[test]
#[should_panic(expected = "another Service's backend")]
fn without_the_tag_check_a_reused_hash_element_misleads() {
    let defences = Defences { whole_values: true, tag: false, ..Defences::default() };
    explore("", move || reuse_the_element(defences));
}

/// Why the publisher inserts nothing between a deletion and the end of a grace period, although
/// there is a tag: a value that is copied in two halves may have the tag of the old key and the
/// slot of the new one.
#[test]
#[should_panic(expected = "another Service's backend")]
fn without_waiting_to_insert_a_value_in_halves_misleads_in_spite_of_its_tag() {
    explore("", || reuse_the_element(Defences::default()));
}
