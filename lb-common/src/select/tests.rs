//! The selection on tables of any content, consistent or not: the tables, a client, and where a
//! selection has to end.

mod points;
mod properties;

extern crate std;

use std::{cell::Cell, collections::BTreeMap, vec::Vec};

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
    is_the_agents: bool,
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

    fn is_the_agents(&self) -> bool {
        self.is_the_agents
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
