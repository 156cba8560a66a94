//! The tables on plain memory: what tests use in place of the kernel's maps.
//!
//! [`Memory`] is a [`Store`] for the publisher, and tables and a client for the selection, so the
//! whole way from a frontend to a chosen backend runs without root. It must never be more forgiving
//! than the kernel: a full table refuses, as do keys that are there already.

mod grace;
mod reader;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io,
};

use lb_common::{
    FrontendValue, Range, Service, V4, V6,
    layout::{Affinity, AffinityKey},
};

pub use self::grace::Manual;
use super::{Family, Partial, PerFamily, Sizes, Store, StoreError, Wire};
use crate::{
    model::{FrontendKey, Protocol},
    plan::placement::Backend,
};

/// The tables of one family.
struct Half<F: Wire> {
    frontends: BTreeMap<F::Key, FrontendValue>,
    backends: Vec<Option<F::Backend>>,
}

/// Tables on plain memory, and a client of the network namespace 7.
pub struct Memory {
    max_frontends: usize,
    v4: Half<V4>,
    v6: Half<V6>,
    /// Every key that is in a table, with its slot.
    pub listed: BTreeMap<FrontendKey, u32>,
    /// `lb_services`
    pub services: Vec<Service>,
    /// `lb_names`
    pub names: BTreeMap<u32, String>,
    /// `lb_node_ports`
    pub node_ports: BTreeSet<(Protocol, u16)>,
    /// `lb_config`: the next ids.
    pub next_ids: (u32, u32),
    /// How many blocks were written in each family.
    pub written: PerFamily<usize>,
    /// How many backends were read.
    pub read: Cell<usize>,
    /// Keys that the kernel is to refuse.
    pub refuses: BTreeSet<FrontendKey>,
    /// Names that it has room for.
    pub max_names: usize,
    /// The second that it is.
    pub now: Cell<u64>,
    /// 10.96.0.0/16 and fd00::/16 are the Service networks, and what nobody has is refused.
    pub refuse_unserved: bool,
    affinity: RefCell<BTreeMap<AffinityKey, Affinity>>,
    random: Cell<u32>,
}

impl<F: Wire> Half<F> {
    fn new(sizes: Sizes) -> Self {
        Self { frontends: BTreeMap::new(), backends: vec![None; sizes.backends as usize] }
    }
}

impl Memory {
    /// Empty tables.
    pub fn new(sizes: Sizes) -> Self {
        let service = Service { range: Range::EMPTY, id: 0, affinity: 0, flags: 0, tag: 0 };
        Self {
            max_frontends: sizes.frontends as usize,
            v4: Half::new(sizes),
            v6: Half::new(sizes),
            listed: BTreeMap::new(),
            services: vec![service; sizes.slots() as usize],
            names: BTreeMap::new(),
            node_ports: BTreeSet::new(),
            next_ids: (0, 0),
            written: PerFamily::default(),
            read: Cell::new(0),
            refuses: BTreeSet::new(),
            max_names: usize::MAX,
            now: Cell::new(0),
            refuse_unserved: false,
            affinity: RefCell::default(),
            random: Cell::new(0),
        }
    }

    /// The slot of a key that is listed.
    pub fn service(&self, key: &FrontendKey) -> Option<Service> {
        self.listed.get(key).map(|slot| self.services[*slot as usize])
    }

    /// The backends of a frontend in the order of the table, or `None` without such a frontend.
    pub fn backends_of(&self, key: &FrontendKey) -> Option<Vec<Backend>> {
        let range = self.service(key)?.range;
        if range == Range::GONE || range == Range::PASS {
            return None;
        }
        let family = Family::of(&key.address);
        let backend = |offset| Store::backend(self, family, range.first + offset);
        Some((0..range.count).map(backend).collect())
    }
}

impl Store for Memory {
    fn backend(&self, family: Family, index: u32) -> Backend {
        let backend = match family {
            Family::V4 => self.v4.backends[index as usize].as_ref().map(V4::read),
            Family::V6 => self.v6.backends[index as usize].as_ref().map(V6::read),
        };
        self.read.set(self.read.get() + 1);
        backend.expect("only what was written is read")
    }

    fn write_backends(&mut self, family: Family, first: u32, backends: &[Backend]) {
        self.written[family] += 1;
        for (index, backend) in (first as usize..).zip(backends) {
            match family {
                Family::V4 => self.v4.backends[index] = Some(V4::backend(backend)),
                Family::V6 => self.v6.backends[index] = Some(V6::backend(backend)),
            }
        }
    }

    fn publish(&mut self, slot: u32, range: Range) {
        self.services[slot as usize].range = range;
    }

    fn identify(&mut self, slot: u32, id: u32, affinity: u32) {
        let (service, (next, _)) = (&mut self.services[slot as usize], self.next_ids);
        assert!(id < next, "an id that the next generation could give again");
        (service.id, service.affinity) = (id, affinity);
    }

    fn set_traits(&mut self, slot: u32, flags: u32, tag: u32) {
        let service = &mut self.services[slot as usize];
        (service.flags, service.tag) = (flags, tag);
    }

    fn remember_ids(&mut self, next_service: u32, next_backend: u32) {
        assert!(next_service >= self.next_ids.0 && next_backend >= self.next_ids.1);
        self.next_ids = (next_service, next_backend);
    }

    fn set_node_port(&mut self, protocol: Protocol, port: u16, served: bool) {
        let changed = if served {
            self.node_ports.insert((protocol, port))
        } else {
            self.node_ports.remove(&(protocol, port))
        };
        assert!(changed, "only changes are told");
    }

    fn insert_frontends(
        &mut self,
        family: Family,
        entries: &[(FrontendKey, u32)],
    ) -> Result<(), Partial> {
        for (done, &(key, slot)) in entries.iter().enumerate() {
            let errno = if self.refuses.contains(&key) {
                libc::ENOMEM
            } else if self.listed.contains_key(&key) {
                libc::EEXIST
            } else if self.listed.len() == self.max_frontends {
                libc::E2BIG
            } else {
                self.listed.insert(key, slot);
                match family {
                    Family::V4 => self.v4.insert(&key, slot),
                    Family::V6 => self.v6.insert(&key, slot),
                }
                continue;
            };
            let source = io::Error::from_raw_os_error(errno);
            let source = StoreError { call: "insert", table: family.frontends(), source };
            return Err(Partial { done, source });
        }
        Ok(())
    }

    fn delete_frontends(&mut self, family: Family, keys: &[FrontendKey]) -> Result<(), Partial> {
        for key in keys {
            self.listed.remove(key);
            match family {
                Family::V4 => drop(self.v4.frontends.remove(&V4::key(key))),
                Family::V6 => drop(self.v6.frontends.remove(&V6::key(key))),
            }
        }
        Ok(())
    }

    fn insert_names(&mut self, names: &[(u32, &str)]) -> Result<(), Partial> {
        for (done, (id, name)) in names.iter().enumerate() {
            if self.names.len() == self.max_names {
                let source = io::Error::from_raw_os_error(libc::ENOMEM);
                let source = StoreError { call: "insert", table: "lb_names", source };
                return Err(Partial { done, source });
            }
            self.names.insert(*id, (*name).to_owned());
        }
        Ok(())
    }

    fn delete_names(&mut self, ids: &[u32]) -> Result<(), Partial> {
        for id in ids {
            assert!(self.names.remove(id).is_some(), "only names that are there are deleted");
        }
        Ok(())
    }
}

impl<F: Wire<Key: Ord>> Half<F> {
    fn insert(&mut self, key: &FrontendKey, slot: u32) {
        let key = F::key(key);
        self.frontends.insert(key, FrontendValue { slot, tag: F::tag(&key) });
    }
}
