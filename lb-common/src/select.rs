//! Which backend a connect goes to: the decision that runs in the kernel, and in every test.
//!
//! The order of the loads is the protocol between a reader and the agent that publishes:
//!
//! 1. The frontend's value, one 64-bit load, checked against the key's tag.
//! 2. The service's range, one 64-bit load that sees everything written before the agent's
//!    release store of it.
//! 3. One backend inside that range, which stays as it is until a grace period has passed since
//!    the range was replaced.
//!
//! A reader that runs under RCU therefore sees the whole old set or the whole new set. This
//! module must never keep anything from one call to the next, nor load a word twice.

use crate::layout::{Backend4, FrontendKey4, FrontendValue, Range};

/// How often a frontend is looked up while its tag does not match. One retry is almost always
/// enough: a mismatch means that the key was deleted, and its element reused, in the few
/// nanoseconds between the lookup and the load.
pub const LOOKUPS: u32 = 4;

/// Read access to the tables, as a BPF program has it.
///
/// Implementations must make each load whole (never two halves of different stores), and
/// [`Tables::range`] must order the loads that follow after it: an acquire load, or a load on whose
/// value the following address depends.
pub trait Tables {
    /// The value that the key's hash element holds now, or `None` without such a key.
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue>;
    /// The range of a service, or `None` if `slot` lies outside of the table.
    fn range(&self, slot: u32) -> Option<Range>;
    /// A backend, or `None` if `index` lies outside of the table.
    fn backend(&self, index: u32) -> Option<Backend4>;
    /// 32 random bits.
    fn random(&self) -> u32;
}

/// What is to become of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The destination is no frontend: leave it alone.
    NotAFrontend,
    /// Rewrite the destination to this backend.
    Backend(Backend4),
    /// The frontend has no eligible backend: refuse.
    NoBackend,
    /// The hash element changed hands at each of [`LOOKUPS`] attempts: leave the connect alone.
    Unsettled,
    /// A slot or index lies outside of its table: refuse.
    Corrupt,
}

/// Chooses a backend for a connect to `key`, each with the same chance.
#[inline(always)]
pub fn select<T: Tables>(tables: &T, key: &FrontendKey4) -> Selection {
    let tag = key.tag();
    for _ in 0..LOOKUPS {
        let Some(value) = tables.frontend(key) else {
            return Selection::NotAFrontend;
        };
        if value.tag == tag {
            return select_in(tables, value.slot);
        }
    }
    Selection::Unsettled
}

#[inline(always)]
fn select_in<T: Tables>(tables: &T, slot: u32) -> Selection {
    let Some(range) = tables.range(slot) else {
        return Selection::Corrupt;
    };
    if range.count == 0 {
        return if range.first == Range::GONE.first {
            Selection::NotAFrontend
        } else {
            Selection::NoBackend
        };
    }
    let offset = scale(tables.random(), range.count);
    match tables.backend(range.first.wrapping_add(offset)) {
        Some(backend) => Selection::Backend(backend),
        None => Selection::Corrupt,
    }
}

/// Maps 32 random bits onto `0..count` without a division. The bias is below `count` / 2³².
#[inline(always)]
const fn scale(random: u32, count: u32) -> u32 {
    ((random as u64 * count as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{cell::Cell, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// Tables with any contents whatever. Every key is found, with the values in turn.
    struct Any {
        values: Vec<u64>,
        ranges: Vec<u64>,
        backends: u32,
        random: u32,
        lookups: Cell<u32>,
    }

    impl Tables for Any {
        fn frontend(&self, _key: &FrontendKey4) -> Option<FrontendValue> {
            let turn = self.lookups.replace(self.lookups.get() + 1) as usize;
            self.values.get(turn % self.values.len().max(1)).copied().map(FrontendValue::from_bits)
        }

        fn range(&self, slot: u32) -> Option<Range> {
            self.ranges.get(slot as usize).copied().map(Range::from_bits)
        }

        fn backend(&self, index: u32) -> Option<Backend4> {
            (index < self.backends).then_some(Backend4 {
                address: [10, 0, 0, 1],
                port: 1,
                flags: 0,
                id: index,
                reserved: 0,
            })
        }

        fn random(&self) -> u32 {
            self.random
        }
    }

    const KEY: FrontendKey4 = FrontendKey4::new([10, 96, 0, 10], 80, 6);

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
            backends in 0..40u32,
            random in any::<u32>(),
        ) {
            let tables = Any { values, ranges, backends, random, lookups: Cell::new(0) };
            let selection = select(&tables, &KEY);
            prop_assert!(tables.lookups.get() <= LOOKUPS);
            if let Selection::Backend(backend) = selection {
                let inside = tables.ranges.iter().copied().map(Range::from_bits).any(|range| {
                    backend.id.wrapping_sub(range.first) < range.count
                });
                prop_assert!(inside && backend.id < backends);
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
    }

    #[test]
    fn a_tag_that_never_matches_ends_after_the_last_lookup() {
        let wrong = FrontendValue { slot: 0, tag: !KEY.tag() }.to_bits();
        let tables = Any {
            values: [wrong].into(),
            ranges: Vec::new(),
            backends: 0,
            random: 0,
            lookups: Cell::new(0),
        };
        assert_eq!(select(&tables, &KEY), Selection::Unsettled);
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
}
