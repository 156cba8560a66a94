//! Hands out ranges of consecutive indexes of one table, and takes them back.
//!
//! Best fit, lowest address first, with neighbours merged as soon as both are free: a range of
//! any length is given exactly its length, so a table sized with headroom keeps that headroom.
//! Costs O(log n) in the number of *free* ranges. Must never hand out an index twice.

use std::collections::{BTreeMap, BTreeSet};

/// The free ranges of a table.
#[derive(Debug)]
pub struct Blocks {
    /// First index of each free range, and its length.
    by_start: BTreeMap<u32, u32>,
    /// The same ranges as (length, first index): the first one not shorter than asked is the best.
    by_len: BTreeSet<(u32, u32)>,
    free: u32,
    capacity: u32,
}

impl Blocks {
    /// All of a table of `capacity` entries, free.
    pub fn new(capacity: u32) -> Self {
        let mut blocks =
            Self { by_start: BTreeMap::new(), by_len: BTreeSet::new(), free: 0, capacity };
        if capacity > 0 {
            blocks.insert(0, capacity);
        }
        blocks
    }

    /// Takes `len` consecutive indexes and returns the first, or `None` if no free range is that
    /// long. `len` must not be zero.
    pub fn take(&mut self, len: u32) -> Option<u32> {
        debug_assert!(len > 0);
        let &(found, start) = self.by_len.range((len, 0)..).next()?;
        self.remove(start, found);
        if found > len {
            self.insert(start + len, found - len);
        }
        Some(start)
    }

    /// Gives back what [`Self::take`] returned, whole or in parts.
    pub fn give(&mut self, start: u32, len: u32) {
        debug_assert!(len > 0 && start + len <= self.capacity);
        let (mut start, mut len) = (start, len);
        if let Some((&next, &next_len)) = self.by_start.range(start..).next() {
            debug_assert!(start + len <= next, "block given back twice");
            if start + len == next {
                self.remove(next, next_len);
                len += next_len;
            }
        }
        if let Some((&before, &before_len)) = self.by_start.range(..start).next_back() {
            debug_assert!(before + before_len <= start, "block given back twice");
            if before + before_len == start {
                self.remove(before, before_len);
                start = before;
                len += before_len;
            }
        }
        self.insert(start, len);
    }

    /// Free indexes, whether they stand together or not.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Length of the longest free range.
    pub fn longest(&self) -> u32 {
        self.by_len.last().map_or(0, |&(len, _)| len)
    }

    /// Entries of the table.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    fn insert(&mut self, start: u32, len: u32) {
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
        self.free += len;
    }

    fn remove(&mut self, start: u32, len: u32) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
        self.free -= len;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_merge_in_any_order() {
        let mut blocks = Blocks::new(30);
        let taken: Vec<u32> = (0..3).map(|_| blocks.take(10).unwrap()).collect();
        assert_eq!(taken, [0, 10, 20]);
        assert_eq!(blocks.take(1), None);
        blocks.give(0, 10);
        blocks.give(20, 10);
        assert_eq!((blocks.free(), blocks.longest()), (20, 10));
        blocks.give(10, 10);
        assert_eq!(blocks.take(30), Some(0));
    }

    #[test]
    fn the_best_fit_leaves_long_ranges_whole() {
        let mut blocks = Blocks::new(100);
        let hole = blocks.take(5).unwrap();
        blocks.take(1).unwrap();
        blocks.give(hole, 5);
        assert_eq!(blocks.take(4), Some(0));
        assert_eq!(blocks.longest(), 94);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Take(u32),
        Give(prop::sample::Index),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![(1..=64u32).prop_map(Op::Take), any::<prop::sample::Index>().prop_map(Op::Give)]
    }

    proptest! {
        /// No index is in two hands, and what is free plus what is taken is the table.
        #[test]
        fn never_hands_out_an_index_twice(ops in prop::collection::vec(op(), 1..400)) {
            const CAPACITY: u32 = 1000;
            let mut blocks = Blocks::new(CAPACITY);
            let mut owned = vec![false; CAPACITY as usize];
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for op in ops {
                match op {
                    Op::Take(len) => match blocks.take(len) {
                        Some(start) => {
                            for owned in &mut owned[start as usize..(start + len) as usize] {
                                prop_assert!(!std::mem::replace(owned, true));
                            }
                            taken.push((start, len));
                        }
                        None => prop_assert!(blocks.longest() < len),
                    },
                    Op::Give(index) if !taken.is_empty() => {
                        let (start, len) = taken.swap_remove(index.index(taken.len()));
                        owned[start as usize..(start + len) as usize].fill(false);
                        blocks.give(start, len);
                    }
                    Op::Give(_) => {}
                }
                let held: u32 = taken.iter().map(|&(_, len)| len).sum();
                prop_assert_eq!(blocks.free() + held, CAPACITY);
                prop_assert_eq!(blocks.by_start.len(), blocks.by_len.len());
            }
            for (start, len) in taken {
                blocks.give(start, len);
            }
            prop_assert_eq!(blocks.longest(), CAPACITY);
        }
    }

    /// A million operations with lengths as Services have them, 1 to 4,096, each power of two as
    /// likely as the next. At the load that socklb asks operators to keep to, four fifths, no
    /// demand is refused; at 95 % long ones are, but never below nine tenths.
    #[test]
    fn a_million_operations_do_not_fragment_it_to_death() {
        let (refused, _) = wander(0.8);
        assert_eq!(refused, 0, "at a load of 80 %");
        let (_, lowest) = wander(0.95);
        assert!(lowest > 0.9, "refused at a utilisation of {lowest:.3}");
    }

    /// Takes and gives at random, so that the utilisation wanders around `load`. Returns how many
    /// demands were refused, and the lowest utilisation at which one was.
    fn wander(load: f64) -> (u32, f64) {
        const CAPACITY: u32 = 1 << 20;
        let mut random = Lcg(1);
        let mut blocks = Blocks::new(CAPACITY);
        let mut taken: Vec<(u32, u32)> = Vec::new();
        let (mut refused, mut lowest) = (0, 1.0f64);
        for _ in 0..1_000_000 {
            let used = 1.0 - f64::from(blocks.free()) / f64::from(CAPACITY);
            if used < load || taken.is_empty() {
                let len = random.length();
                if let Some(start) = blocks.take(len) {
                    taken.push((start, len));
                    continue;
                }
                refused += 1;
                lowest = lowest.min(used);
            }
            let index = random.below(taken.len() as u32) as usize;
            let (start, len) = taken.swap_remove(index);
            blocks.give(start, len);
        }
        eprintln!(
            "10⁶ operations at a load of {load}: {refused} refused, lowest utilisation then \
             {lowest:.3}; {} free in {} pieces, the longest {}",
            blocks.free(),
            blocks.by_start.len(),
            blocks.longest(),
        );
        (refused, lowest)
    }

    /// A fixed sequence, so that the figure printed above is the same on every run.
    struct Lcg(u64);

    impl Lcg {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
        }

        fn length(&mut self) -> u32 {
            let exponent = self.below(12);
            (1 << exponent) + self.below(1 << exponent)
        }
    }
}
