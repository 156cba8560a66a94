//! The selection on tables of any content, consistent or not.

extern crate std;

use std::{cell::Cell, collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    V4,
    layout::{Backend4, FrontendKey4},
};

/// Tables with any contents whatever. Every key is found, with the values in turn.
#[derive(Default)]
struct Any {
    values: Vec<u64>,
    ranges: Vec<u64>,
    identities: Vec<(u32, u32)>,
    flags: u32,
    tag: u32,
    /// Their ids are their positions, plus this.
    first_id: u32,
    backends: u32,
    lookups: Cell<u32>,
}

impl Tables<V4> for Any {
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue> {
        if key.port == 0 {
            return None;
        }
        let turn = self.lookups.replace(self.lookups.get() + 1) as usize;
        self.values.get(turn % self.values.len().max(1)).copied().map(FrontendValue::from_bits)
    }

    fn range(&self, slot: u32) -> Option<Range> {
        self.ranges.get(slot as usize).copied().map(Range::from_bits)
    }

    fn identity(&self, slot: u32) -> (u32, u32) {
        self.identities.get(slot as usize).copied().unwrap_or_default()
    }

    fn traits(&self, _slot: u32) -> (u32, u32) {
        (self.flags, self.tag)
    }

    fn backend(&self, index: u32) -> Option<Backend4> {
        (index < self.backends).then_some(Backend4 {
            address: [10, 0, 0, 1],
            port: 1,
            flags: 0,
            id: self.first_id.wrapping_add(index),
            reserved: 0,
        })
    }
}

/// A client of the network namespace 7; the host's is 1.
#[derive(Default)]
struct Someone {
    random: Cell<u32>,
    now: Cell<u64>,
    host: bool,
    switches: Switches,
    opted_out: bool,
    remembers: std::cell::RefCell<BTreeMap<AffinityKey, Affinity>>,
    /// What another connect of the same client remembers meanwhile.
    faster: Cell<Option<Affinity>>,
}

impl Client for Someone {
    fn random(&self) -> u32 {
        self.random.get()
    }

    fn netns(&self) -> u64 {
        if self.host { 1 } else { 7 }
    }

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn switches(&self) -> Switches {
        self.switches
    }

    fn host(&self) -> u64 {
        1
    }

    fn cidr4(&self, _index: u16) -> Cidr4 {
        Cidr4 { address: [10, 96, 0, 0], mask: [255, 255, 0, 0] }
    }

    fn cidr6(&self, _index: u16) -> Cidr6 {
        Cidr6::default()
    }

    fn is_opted_out(&self, _netns: u64) -> bool {
        self.opted_out
    }

    fn judge_affinity(
        &self,
        key: &AffinityKey,
        judge: impl FnOnce(Affinity) -> Option<Affinity>,
    ) -> Option<()> {
        let known = *self.remembers.borrow().get(key)?;
        if let Some(next) = judge(known) {
            self.remembers.borrow_mut().insert(*key, next);
        }
        Some(())
    }

    fn remember(&self, key: &AffinityKey, value: &Affinity) -> bool {
        let faster = self.faster.take();
        self.remembers.borrow_mut().insert(*key, faster.unwrap_or(*value));
        faster.is_none()
    }
}

const KEY: FrontendKey4 = FrontendKey4::new([10, 96, 0, 10], 80, 6);
const SECOND: u64 = 1_000_000_000;

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..6u32).prop_map(|slot| FrontendValue { slot, tag: KEY.tag() }.to_bits()),
    ]
}

fn range() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(Range::GONE.to_bits()),
        Just(Range::PASS.to_bits()),
        Just(Range::EMPTY.to_bits()),
        (0..20u32, 0..20u32).prop_map(|(first, count)| Range { first, count }.to_bits()),
    ]
}

proptest! {
    /// Whatever is in the tables, a selection ends, within the bounds of the range it read.
    #[test]
    fn any_tables_are_survived(
        values in prop::collection::vec(value(), 0..6),
        ranges in prop::collection::vec(range(), 0..6),
        identities in prop::collection::vec((any::<u32>(), prop_oneof![Just(0), any::<u32>()]), 0..6),
        flags in 0..2u32,
        backends in 0..40u32,
        first_id in any::<u32>(),
        random in any::<u32>(),
        earlier in prop::option::of((any::<u32>(), any::<u32>())),
    ) {
        let (tag, lookups) = (KEY.tag(), Cell::new(0));
        let tables =
            Any { values, ranges, identities, flags, tag, first_id, backends, lookups };
        let client = Someone { random: random.into(), ..Someone::default() };
        let earlier = earlier.map(|(backend, hint)| Earlier { backend, hint });
        for _ in 0..2 {
            tables.lookups.set(0);
            let selection = select(&tables, &client, &KEY, earlier);
            prop_assert!(tables.lookups.get() <= LOOKUPS);
            if let Selection::Backend(Selected { backend, slot, position, .. }) = selection {
                let range = tables.range(slot).unwrap();
                prop_assert!(position < range.count);
                let index = backend.id.wrapping_sub(first_id);
                prop_assert_eq!(range.first.wrapping_add(position), index);
                prop_assert!(index < backends);
            }
        }
    }

    #[test]
    fn words_survive_the_way_through_memory(a in any::<u32>(), b in any::<u32>()) {
        let (range, value) = (Range { first: a, count: b }, FrontendValue { slot: a, tag: b });
        prop_assert_eq!(Range::from_bits(range.to_bits()), range);
        prop_assert_eq!(FrontendValue::from_bits(value.to_bits()), value);
    }

    #[test]
    fn offsets_stay_below_the_count(random in any::<u32>(), count in 1..=u32::MAX) {
        prop_assert!(scale(random, count) < count);
    }

    /// With a good hint, a bad one, or none that lies in the range.
    #[test]
    fn a_backend_is_found_by_its_id(
        first_id in 0..u32::MAX - 5000,
        first in 0..100u32,
        count in 0..4000u32,
        wanted in 0..4200u32,
        hint in prop_oneof![any::<u32>(), 0..4000u32],
    ) {
        let tables = Any { first_id, backends: 5000, ..Any::default() };
        let range = Range { first, count };
        let found = position_of::<V4, _>(&tables, range, first_id + wanted, hint);
        let inside = wanted.checked_sub(first).filter(|position| *position < count);
        prop_assert_eq!(found, inside);
    }
}

/// Backends with the ids 100 to 109 in slot 0, of a Service port with the id 5.
fn ten(affinity: u32) -> Any {
    Any {
        values: [FrontendValue { slot: 0, tag: KEY.tag() }.to_bits()].into(),
        ranges: [Range { first: 0, count: 10 }.to_bits()].into(),
        identities: [(5, affinity)].into(),
        tag: KEY.tag(),
        first_id: 100,
        backends: 10,
        ..Any::default()
    }
}

fn id(selection: Selection<Backend4>) -> u32 {
    match selection {
        Selection::Backend(selected) => selected.backend.id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn point_15_a_client_stays_until_it_has_been_idle_for_too_long() {
    let (tables, client) = (ten(60), Someone::default());
    let connect = |second, random: u32| {
        client.now.set(second * SECOND);
        client.random.set(random);
        id(select(&tables, &client, &KEY, None))
    };
    assert_eq!(connect(1, 0), 100);
    assert_eq!(connect(61, u32::MAX), 100);
    // Each connect counts, not the first alone.
    assert_eq!(connect(121, u32::MAX), 100);
    // Another CPU's clock may be a little behind.
    assert_eq!(connect(120, u32::MAX), 100);
    assert_eq!(connect(300, u32::MAX), 109);
    assert_eq!(connect(301, 0), 109);
}

#[test]
fn point_15_a_client_never_stays_with_a_backend_that_is_gone() {
    let client = Someone::default();
    assert_eq!(id(select(&ten(60), &client, &KEY, None)), 100);
    let mut fewer = ten(60);
    fewer.first_id = 101;
    assert_eq!(id(select(&fewer, &client, &KEY, None)), 101);
    // Back again, but not chosen any more.
    assert_eq!(id(select(&ten(60), &client, &KEY, None)), 101);
}

#[test]
fn point_15_the_faster_of_two_first_connects_decides() {
    let faster = Affinity { used: 0, backend: 107, hint: 3 };
    let client = Someone { faster: Some(faster).into(), ..Someone::default() };
    assert_eq!(id(select(&ten(60), &client, &KEY, None)), 107);
}

#[test]
fn point_21_an_earlier_backend_goes_before_all() {
    let client = Someone::default();
    let earlier = Some(Earlier { backend: 104, hint: 9 });
    assert_eq!(id(select(&ten(0), &client, &KEY, earlier)), 104);
    let gone = Some(Earlier { backend: 99, hint: 0 });
    assert_eq!(id(select(&ten(0), &client, &KEY, gone)), 100);
}

#[test]
fn point_21_further_datagrams_stay_while_the_slot_is_the_frontends() {
    let client = Someone::default();
    let earlier = Earlier { backend: 104, hint: 9 };
    let mut tables = ten(0);
    assert_eq!(stays(&tables, &client, &KEY, 0, earlier), Some(4));
    assert_eq!(tables.lookups.get(), 0, "the key is not looked up");
    let gone = Earlier { backend: 99, ..earlier };
    assert_eq!(stays(&tables, &client, &KEY, 0, gone), None);
    assert_eq!(stays(&tables, &client, &KEY, 7, earlier), None, "outside of the table");
    tables.flags = HOST_ONLY;
    assert_eq!(stays(&tables, &client, &KEY, 0, earlier), None);
    tables.flags = 0;
    let other = FrontendKey4 { port: KEY.port + 1, ..KEY };
    assert_eq!(stays(&tables, &client, &other, 0, earlier), None, "another frontend's slot");
    tables.ranges[0] = Range::GONE.to_bits();
    assert_eq!(stays(&tables, &client, &KEY, 0, earlier), None);
}

#[test]
fn point_16_a_host_only_frontend_is_none_for_pods() {
    let mut tables = ten(0);
    tables.flags = HOST_ONLY;
    let pod = Someone::default();
    assert_eq!(select(&tables, &pod, &KEY, None), Selection::NotAFrontend);
    let host = Someone { host: true, ..pod };
    assert_eq!(id(select(&tables, &host, &KEY, None)), 100);
}

#[test]
fn clients_that_are_opted_out_or_out_of_scope_are_left_alone() {
    let opted_out = Someone {
        opted_out: true,
        switches: Switches { opt_outs: true, refuse: true, cidr_count4: 1, ..Switches::default() },
        ..Someone::default()
    };
    assert_eq!(select(&ten(0), &opted_out, &KEY, None), Selection::NotAFrontend);
    assert_eq!(select(&Any::default(), &opted_out, &KEY, None), Selection::NotAFrontend);
    let out_of_scope = Someone {
        switches: Switches { host_scope: true, ..Switches::default() },
        ..Someone::default()
    };
    assert_eq!(select(&ten(0), &out_of_scope, &KEY, None), Selection::NotAFrontend);
    assert_eq!(id(select(&ten(0), &Someone { host: true, ..out_of_scope }, &KEY, None)), 100);
}

#[test]
fn point_18_what_no_service_has_is_refused_inside_of_the_service_network() {
    let switches = Switches { refuse: true, cidr_count4: 1, ..Switches::default() };
    let client = Someone { switches, ..Someone::default() };
    assert_eq!(select(&Any::default(), &client, &KEY, None), Selection::Unserved);
    let outside = FrontendKey4::new([10, 97, 0, 1], 80, 6);
    assert_eq!(select(&Any::default(), &client, &outside, None), Selection::NotAFrontend);
    let mut gone = ten(0);
    gone.ranges = [Range::GONE.to_bits()].into();
    assert_eq!(select(&gone, &client, &KEY, None), Selection::Unserved);
    gone.ranges = [Range::PASS.to_bits()].into();
    assert_eq!(select(&gone, &client, &KEY, None), Selection::NotAFrontend);
}

#[test]
fn a_tag_that_never_matches_ends_after_the_last_lookup() {
    let wrong = FrontendValue { slot: 0, tag: !KEY.tag() }.to_bits();
    let tables = Any { values: [wrong].into(), ..Any::default() };
    assert_eq!(select(&tables, &Someone::default(), &KEY, None), Selection::Unsettled);
    assert_eq!(tables.lookups.get(), LOOKUPS);
}

#[test]
fn keys_that_differ_in_one_field_have_different_tags() {
    let keys = [
        KEY,
        FrontendKey4::new([10, 96, 0, 11], 80, 6),
        FrontendKey4::new([10, 96, 0, 10], 81, 6),
        FrontendKey4::new([10, 96, 0, 10], 80, 17),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(keys[at + 1..].iter().all(|other| other.tag() != key.tag()));
    }
}

#[test]
fn the_ends_of_the_longest_range_are_found() {
    let tables = Any { first_id: 1, backends: u32::MAX, ..Any::default() };
    let found = |count, position: u32| {
        let range = Range { first: 0, count };
        position_of::<V4, _>(&tables, range, 1 + position, u32::MAX) == Some(position)
    };
    let longest = (1 << 28) - 1;
    assert!([0, 1, longest / 2, longest - 1].iter().all(|position| found(longest, *position)));
    // One more would need another step, for this one.
    assert!(!found(longest + 1, 0));
}
