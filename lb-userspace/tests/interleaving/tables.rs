//! The kernel's tables as loom sees them: every word an atomic, the hash with its one element.
//!
//! As in the kernel, a lookup and the load of the value it found are two steps, a deleted key's
//! element is reused by the next insertion at once, and values are copied by memcpy, here in two
//! halves. Loads that only an address dependency orders are acquire loads, which the C11 model
//! needs in their place. Names and ids of services are left out: no connect reads them.

use std::sync::Arc;

use lb_common::{Backend4, FrontendKey4, FrontendValue, Range, Tables};
use lb_userspace::publish::{Partial, Sizes, Store};
use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::rcu::Sections;

/// What keeps a reader from harm. All but `whole_values` are on by default.
#[derive(Clone, Copy)]
pub(crate) struct Defences {
    /// Grace periods wait for readers.
    pub(crate) grace: bool,
    /// Ranges are stored with release ordering.
    pub(crate) release: bool,
    /// Readers compare the value's tag.
    pub(crate) tag: bool,
    /// The kernel copies a value in one store. It does not promise to.
    pub(crate) whole_values: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self { grace: true, release: true, tag: true, whole_values: false }
    }
}

/// The tables, and what the model knows beside them. The threads share them by the standard
/// library's `Arc`: how they are shared is not what is explored.
pub(crate) struct LoomTables {
    pub(crate) defences: Defences,
    pub(crate) readers: Vec<Sections>,
    /// How many ranges were published, counted just before each one's store. Only ever changed by
    /// read-modify-write, so that nobody finds an old count.
    published: AtomicUsize,
    /// The key that the only hash element is linked under, as [`key_bits`]; zero if it is free.
    linked: AtomicU64,
    /// The element's value.
    value: AtomicU64,
    ranges: Vec<AtomicU64>,
    backends: Vec<[AtomicU64; 2]>,
}

impl LoomTables {
    /// Empty tables. One hash element is all that the scenarios need, so that it is reused.
    pub(crate) fn new(sizes: Sizes, readers: usize, defences: Defences) -> Self {
        assert_eq!(sizes.frontends, 1);
        Self {
            defences,
            readers: (0..readers).map(|_| Sections::new()).collect(),
            published: AtomicUsize::new(0),
            linked: AtomicU64::new(0),
            value: AtomicU64::new(0),
            ranges: (0..sizes.services).map(|_| AtomicU64::new(0)).collect(),
            backends: (0..sizes.backends).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
        }
    }

    /// How many publications were begun.
    pub(crate) fn published(&self) -> usize {
        self.published.fetch_add(0, Ordering::AcqRel)
    }
}

impl Tables for LoomTables {
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue> {
        if self.linked.load(Ordering::Acquire) != key_bits(key) {
            return None;
        }
        let mut value = FrontendValue::from_bits(self.value.load(Ordering::Acquire));
        if !self.defences.tag {
            value.tag = key.tag();
        }
        Some(value)
    }

    fn range(&self, slot: u32) -> Option<Range> {
        let word = self.ranges.get(slot as usize)?;
        Some(Range::from_bits(word.load(Ordering::Acquire)))
    }

    fn backend(&self, index: u32) -> Option<Backend4> {
        let [first, second] = self.backends.get(index as usize)?;
        let [a, b, c, d, low, high, ..] = first.load(Ordering::Relaxed).to_le_bytes();
        let port = u16::from_le_bytes([low, high]);
        let id = second.load(Ordering::Relaxed) as u32;
        Some(Backend4 { address: [a, b, c, d], port, flags: 0, id, reserved: 0 })
    }

    fn random(&self) -> u32 {
        0
    }
}

/// Write access.
pub(crate) struct LoomStore(Arc<LoomTables>);

impl LoomStore {
    /// The writer of these tables.
    pub(crate) fn new(tables: Arc<LoomTables>) -> Self {
        Self(tables)
    }
}

impl Store for LoomStore {
    fn backend(&self, index: u32) -> Backend4 {
        Tables::backend(&*self.0, index).unwrap()
    }

    fn write_backends(&mut self, first: u32, backends: &[Backend4]) {
        for (entry, backend) in self.0.backends[first as usize..].iter().zip(backends) {
            let ([a, b, c, d], [low, high]) = (backend.address, backend.port.to_le_bytes());
            let word = u64::from_le_bytes([a, b, c, d, low, high, 0, 0]);
            entry[0].store(word, Ordering::Relaxed);
            entry[1].store(backend.id.into(), Ordering::Relaxed);
        }
    }

    fn publish(&mut self, slot: u32, range: Range) {
        let ordering = if self.0.defences.release { Ordering::Release } else { Ordering::Relaxed };
        // Relaxed, lest the count order what the range's store must.
        self.0.published.fetch_add(1, Ordering::Relaxed);
        self.0.ranges[slot as usize].store(range.to_bits(), ordering);
    }

    fn identify(&mut self, _slot: u32, _id: u32) {}

    fn insert_frontends(
        &mut self,
        entries: &[(FrontendKey4, FrontendValue)],
    ) -> Result<(), Partial> {
        for (key, value) in entries {
            assert_eq!(self.0.linked.load(Ordering::Relaxed), 0, "the hash has one element");
            let new = value.to_bits();
            if !self.0.defences.whole_values {
                let old = FrontendValue::from_bits(self.0.value.load(Ordering::Relaxed));
                let half = FrontendValue { slot: value.slot, tag: old.tag };
                self.0.value.store(half.to_bits(), Ordering::Relaxed);
            }
            self.0.value.store(new, Ordering::Relaxed);
            self.0.linked.store(key_bits(key), Ordering::Release);
        }
        Ok(())
    }

    fn delete_frontends(&mut self, keys: &[FrontendKey4]) -> Result<(), Partial> {
        for key in keys {
            assert_eq!(self.0.linked.load(Ordering::Relaxed), key_bits(key));
            self.0.linked.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn insert_names(&mut self, _names: &[(u32, &str)]) -> Result<(), Partial> {
        Ok(())
    }

    fn delete_names(&mut self, _ids: &[u32]) -> Result<(), Partial> {
        Ok(())
    }
}

/// A key as one word that is not zero.
fn key_bits(key: &FrontendKey4) -> u64 {
    let [a, b, c, d] = key.address;
    let [low, high] = key.port.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, low, high, key.protocol, 1])
}
