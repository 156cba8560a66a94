//! Hands out single indexes of a table, the most recently returned first.
//!
//! Must never hand out an index twice.

/// The free slots of a table.
#[derive(Debug)]
pub struct Slots {
    returned: Vec<u32>,
    /// Slots from here on were never taken.
    untouched: u32,
    capacity: u32,
}

impl Slots {
    /// All of a table of `capacity` entries, free.
    pub fn new(capacity: u32) -> Self {
        Self { returned: Vec::new(), untouched: 0, capacity }
    }

    /// Takes a slot, or `None` if all are taken.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(slot) = self.returned.pop() {
            return Some(slot);
        }
        if self.untouched == self.capacity {
            return None;
        }
        self.untouched += 1;
        Some(self.untouched - 1)
    }

    /// Gives back a slot that [`Self::take`] returned.
    pub fn give(&mut self, slot: u32) {
        debug_assert!(slot < self.untouched);
        self.returned.push(slot);
    }

    /// Entries of the table.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_once() {
        let mut slots = Slots::new(3);
        assert_eq!([slots.take(), slots.take(), slots.take()], [Some(0), Some(1), Some(2)]);
        assert_eq!(slots.take(), None);
        slots.give(1);
        assert_eq!((slots.take(), slots.take()), (Some(1), None));
    }
}
