//! The kernel's tables of IPv4 as loom sees them: every word an atomic, the hash with an element for
//! each frontend that it has room for.
//!
//! As in the kernel, a lookup and the load of the value it found are two steps, a deleted key's
//! element is reused by the next insertion at once, and values are copied by memcpy, here in two
//! halves. Loads that only an address dependency orders are acquire loads, which the C11 model
//! needs in their place. What no connect reads is left out, and so is what no scenario changes: the
//! traits, the switches, and what is remembered of clients.

use std::sync::Arc;

use lb_common::{
    Backend4, Client, FrontendKey4, FrontendValue, Range, Service, Switches, Tables, V4,
    layout::{Affinity, AffinityKey, Cidr4, Cidr6},
};
use lb_userspace::{
    model::{FrontendKey, Protocol},
    plan::placement::Backend,
    publish::{Family, Partial, Sizes, Store, Wire as _},
};
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
    elements: Vec<Element>,
    ranges: Vec<AtomicU64>,
    identities: Vec<AtomicU64>,
    backends: Vec<[AtomicU64; 2]>,
}

/// An element of the hash.
struct Element {
    /// The key that it is linked under, as [`key_bits`]; zero if it is free.
    linked: AtomicU64,
    value: AtomicU64,
}

impl LoomTables {
    /// Empty tables. They have room for as little as a scenario needs, so that it is reused.
    pub(crate) fn new(sizes: Sizes, readers: usize, defences: Defences) -> Self {
        let element = |_| Element { linked: AtomicU64::new(0), value: AtomicU64::new(0) };
        Self {
            defences,
            readers: (0..readers).map(|_| Sections::new()).collect(),
            published: AtomicUsize::new(0),
            elements: (0..sizes.frontends).map(element).collect(),
            ranges: (0..sizes.slots()).map(|_| AtomicU64::new(0)).collect(),
            identities: (0..sizes.slots()).map(|_| AtomicU64::new(0)).collect(),
            backends: (0..sizes.backends).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
        }
    }

    /// How many publications were begun.
    pub(crate) fn published(&self) -> usize {
        self.published.fetch_add(0, Ordering::AcqRel)
    }
}

impl Tables<V4> for LoomTables {
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue> {
        let linked = |element: &&Element| element.linked.load(Ordering::Acquire) == key_bits(key);
        let element = self.elements.iter().find(linked)?;
        let mut value = FrontendValue::from_bits(element.value.load(Ordering::Acquire));
        if !self.defences.tag {
            value.tag = key.tag();
        }
        Some(value)
    }

    fn range(&self, slot: u32) -> Option<Range> {
        let word = self.ranges.get(slot as usize)?;
        Some(Range::from_bits(word.load(Ordering::Acquire)))
    }

    fn identity(&self, slot: u32) -> (u32, u32) {
        Service::from_identity(self.identities[slot as usize].load(Ordering::Relaxed))
    }

    fn traits(&self, _slot: u32) -> (u32, u32) {
        (0, 0)
    }

    fn backend(&self, index: u32) -> Option<Backend4> {
        let [first, second] = self.backends.get(index as usize)?;
        let [a, b, c, d, low, high, ..] = first.load(Ordering::Relaxed).to_le_bytes();
        let port = u16::from_le_bytes([low, high]);
        let id = second.load(Ordering::Relaxed) as u32;
        Some(Backend4 { address: [a, b, c, d], port, flags: 0, id, reserved: 0 })
    }
}

impl Client for LoomTables {
    fn random(&self) -> u32 {
        0
    }

    fn netns(&self) -> u64 {
        0
    }

    fn now(&self) -> u64 {
        0
    }

    fn switches(&self) -> Switches {
        Switches::default()
    }

    fn host(&self) -> u64 {
        0
    }

    fn cidr4(&self, _index: u16) -> Cidr4 {
        Cidr4::default()
    }

    fn cidr6(&self, _index: u16) -> Cidr6 {
        Cidr6::default()
    }

    fn is_the_agents(&self) -> bool {
        false
    }

    fn is_opted_out(&self, _netns: u64) -> bool {
        false
    }

    fn judge_affinity(
        &self,
        _key: &AffinityKey,
        _judge: impl FnOnce(Affinity) -> Option<Affinity>,
    ) -> Option<()> {
        None
    }

    fn remember(&self, _key: &AffinityKey, _value: &Affinity) -> bool {
        true
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
    fn backend(&self, _family: Family, index: u32) -> Backend {
        V4::read(&Tables::backend(&*self.0, index).unwrap())
    }

    fn write_backends(&mut self, _family: Family, first: u32, backends: &[Backend]) {
        for (entry, backend) in self.0.backends[first as usize..].iter().zip(backends) {
            let backend = V4::backend(backend);
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

    fn identify(&mut self, slot: u32, id: u32, affinity: u32) {
        let word = Service::identity(id, affinity);
        self.0.identities[slot as usize].store(word, Ordering::Relaxed);
    }

    fn set_traits(&mut self, _slot: u32, _flags: u32, _tag: u32) {}

    fn remember_ids(&mut self, _next_service: u32, _next_backend: u32) {}

    fn set_node_port(&mut self, _protocol: Protocol, _port: u16, _served: bool) {}

    fn insert_frontends(
        &mut self,
        _family: Family,
        entries: &[(FrontendKey, u32)],
    ) -> Result<(), Partial> {
        for &(ref key, slot) in entries {
            let key = V4::key(key);
            let free = |element: &&Element| element.linked.load(Ordering::Relaxed) == 0;
            let element = self.0.elements.iter().find(free).expect("a free element");
            let new = FrontendValue { slot, tag: key.tag() };
            if !self.0.defences.whole_values {
                let old = FrontendValue::from_bits(element.value.load(Ordering::Relaxed));
                let half = FrontendValue { slot, tag: old.tag };
                element.value.store(half.to_bits(), Ordering::Relaxed);
            }
            element.value.store(new.to_bits(), Ordering::Relaxed);
            element.linked.store(key_bits(&key), Ordering::Release);
        }
        Ok(())
    }

    fn delete_frontends(&mut self, _family: Family, keys: &[FrontendKey]) -> Result<(), Partial> {
        for key in keys {
            let bits = key_bits(&V4::key(key));
            let linked = |element: &&Element| element.linked.load(Ordering::Relaxed) == bits;
            let element = self.0.elements.iter().find(linked).expect("a key that is there");
            element.linked.store(0, Ordering::Release);
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
