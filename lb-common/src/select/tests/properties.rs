//! What holds whatever the tables, words and ranges hold.

use proptest::prelude::*;

use super::*;

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
