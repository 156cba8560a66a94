//! Every interleaving of the publisher with connects, by loom.
//!
//! The writer is the agent's own `Publisher`, the reader is `lb_common::select`, the code that runs
//! in the kernel; only the tables ([`tables`]) and RCU ([`rcu`]) are modelled. Loom knows the C11
//! memory model, so a store that lacks its release ordering is noticed, as is a block, slot or
//! hash element that is reused too early. The tests whose names begin with `without` take one
//! defence out and must fail: they prove that the others can.
//!
//! What is not explored: scenarios longer than those here, more than two readers, loads that a CPU
//! satisfies with stores yet to come (loom has none), calls that fail, and the kernel's hash beyond
//! two elements. Where a second reader or a second section makes the interleavings too many, those
//! with more than [`TWO_READERS`] or [`LATE_READER`] preemptions are left out too;
//! `LOOM_MAX_PREEMPTIONS` in the environment replaces these bounds.
#![forbid(unsafe_code)]

mod rcu;
mod scenarios;
mod tables;
mod world;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use scenarios::{
    delete_and_reuse, gone_and_back, purge_under_way, rename, republish, republish_to_two,
    retire_under_way, reuse_the_element, share,
};
use tables::Defences;

/// No bound on preemptions.
const ALL: Option<usize> = None;
/// The bound where there are two readers.
const TWO_READERS: Option<usize> = Some(2);
/// The bound where a reader has two sections: into the first, out of it, and into the second.
const LATE_READER: Option<usize> = Some(3);

/// Runs a scenario in every interleaving within the bound, and says how many there were.
fn explore(scenario: fn(Defences), preemptions: Option<usize>, defences: Defences) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario(defences);
    });
    let (test, count) = (std::thread::current(), count.load(Ordering::Relaxed));
    eprintln!("{}: {count} interleavings", test.name().unwrap_or_default());
}

#[test]
fn a_connect_sees_a_whole_set_while_its_block_is_reused() {
    explore(republish, ALL, Defences::default());
}

#[test]
fn two_connects_at_once_see_whole_sets() {
    explore(republish_to_two, TWO_READERS, Defences::default());
}

#[test]
fn a_block_retired_during_a_grace_period_waits_for_the_next() {
    explore(retire_under_way, LATE_READER, Defences::default());
}

#[test]
#[should_panic(expected = "was in none of")]
fn without_the_grace_period_a_connect_sees_a_reused_block() {
    explore(republish, ALL, Defences { grace: false, ..Defences::default() });
}

#[test]
#[should_panic(expected = "was in none of")]
fn without_the_release_store_a_connect_sees_an_unwritten_block() {
    explore(republish, ALL, Defences { release: false, ..Defences::default() });
}

#[test]
fn a_block_is_kept_until_the_last_of_its_frontends_has_left() {
    explore(share, ALL, Defences::default());
}

#[test]
#[should_panic(expected = "was in none of")]
fn without_the_grace_period_the_last_frontend_sees_a_reused_block() {
    explore(share, ALL, Defences { grace: false, ..Defences::default() });
}

#[test]
fn a_frontend_that_changes_hands_is_never_nobodys() {
    explore(rename, ALL, Defences::default());
}

#[test]
fn a_frontend_that_goes_and_comes_back_is_whole_or_gone() {
    explore(gone_and_back, ALL, Defences::default());
}

#[test]
fn a_connect_to_a_deleted_frontend_never_reaches_another_service() {
    explore(delete_and_reuse, ALL, Defences::default());
}

#[test]
#[should_panic(expected = "was in none of")]
fn without_the_grace_period_a_connect_reaches_another_service() {
    explore(delete_and_reuse, ALL, Defences { grace: false, ..Defences::default() });
}

#[test]
fn a_key_deleted_during_a_grace_period_keeps_its_element_until_the_next_ends() {
    explore(purge_under_way, LATE_READER, Defences::default());
}

#[test]
fn the_tag_tells_that_a_hash_element_was_reused() {
    explore(reuse_the_element, ALL, Defences { whole_values: true, ..Defences::default() });
}

#[test]
#[should_panic(expected = "was in none of")]
fn without_the_tag_check_a_reused_hash_element_misleads() {
    let defences = Defences { whole_values: true, tag: false, ..Defences::default() };
    explore(reuse_the_element, ALL, defences);
}

/// Why the publisher inserts nothing between a deletion and the end of a grace period, although
/// there is a tag: a value that is copied in two halves may have the tag of the old key and the
/// slot of the new one.
#[test]
#[should_panic(expected = "was in none of")]
fn without_waiting_to_insert_a_value_in_halves_misleads_in_spite_of_its_tag() {
    explore(reuse_the_element, ALL, Defences::default());
}
