//! The tables on plain memory: what tests use in place of the kernel's maps.
//!
//! [`Memory`] is a [`Store`] for the publisher and [`Tables`] for the selection, so the whole way
//! from an object to a chosen backend runs without root. It must never be more forgiving than the
//! kernel: a full table refuses, as do keys that are there already.

use std::{cell::Cell, collections::BTreeMap, io};

use lb_common::{Backend4, FrontendKey4, FrontendValue, Range, Tables};

use super::{Partial, Sizes, Store, StoreError};

/// Tables on plain memory.
#[derive(Debug)]
pub(super) struct Memory {
    max_frontends: usize,
    /// `lb_frontends4`
    pub(super) frontends: BTreeMap<FrontendKey4, FrontendValue>,
    /// `lb_services`: range and id.
    pub(super) services: Vec<(Range, u32)>,
    /// `lb_backends4`
    pub(super) backends: Vec<Backend4>,
    /// `lb_names`
    pub(super) names: BTreeMap<u32, String>,
    random: Cell<u32>,
}

impl Memory {
    /// Empty tables.
    pub(super) fn new(sizes: Sizes) -> Self {
        let backend = Backend4 { address: [0; 4], port: 0, flags: 0, id: 0, reserved: 0 };
        Self {
            max_frontends: sizes.frontends as usize,
            frontends: BTreeMap::new(),
            services: vec![(Range::EMPTY, 0); sizes.services as usize],
            backends: vec![backend; sizes.backends as usize],
            names: BTreeMap::new(),
            random: Cell::new(0),
        }
    }

    /// The backends of a frontend in the order of the table, or `None` without such a frontend.
    pub(super) fn backends_of(&self, key: &FrontendKey4) -> Option<&[Backend4]> {
        let value = self.frontends.get(key)?;
        let (range, _) = self.services[value.slot as usize];
        if range == Range::GONE {
            return None;
        }
        if range.count == 0 {
            return Some(&[]);
        }
        Some(&self.backends[range.first as usize..(range.first + range.count) as usize])
    }
}

impl Tables for Memory {
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue> {
        self.frontends.get(key).copied()
    }

    fn range(&self, slot: u32) -> Option<Range> {
        self.services.get(slot as usize).map(|(range, _)| *range)
    }

    fn backend(&self, index: u32) -> Option<Backend4> {
        self.backends.get(index as usize).copied()
    }

    /// Not random: walks through all residues, so that a test meets every backend.
    fn random(&self) -> u32 {
        self.random.replace(self.random.get().wrapping_add(0x9e37_79b9))
    }
}

impl Store for Memory {
    fn backend(&self, index: u32) -> Backend4 {
        self.backends[index as usize]
    }

    fn write_backends(&mut self, first: u32, backends: &[Backend4]) {
        self.backends[first as usize..first as usize + backends.len()].copy_from_slice(backends);
    }

    fn publish(&mut self, slot: u32, range: Range) {
        self.services[slot as usize].0 = range;
    }

    fn identify(&mut self, slot: u32, id: u32) {
        self.services[slot as usize].1 = id;
    }

    fn insert_frontends(
        &mut self,
        entries: &[(FrontendKey4, FrontendValue)],
    ) -> Result<(), Partial> {
        for (done, (key, value)) in entries.iter().enumerate() {
            let errno = if self.frontends.contains_key(key) {
                libc::EEXIST
            } else if self.frontends.len() == self.max_frontends {
                libc::E2BIG
            } else {
                self.frontends.insert(*key, *value);
                continue;
            };
            let source = io::Error::from_raw_os_error(errno);
            let source = StoreError { call: "insert", table: "lb_frontends4", source };
            return Err(Partial { done, source });
        }
        Ok(())
    }

    fn delete_frontends(&mut self, keys: &[FrontendKey4]) -> Result<(), Partial> {
        for key in keys {
            self.frontends.remove(key);
        }
        Ok(())
    }

    fn insert_names(&mut self, names: &[(u32, &str)]) -> Result<(), Partial> {
        self.names.extend(names.iter().map(|(id, name)| (*id, (*name).to_owned())));
        Ok(())
    }

    fn delete_names(&mut self, ids: &[u32]) -> Result<(), Partial> {
        for id in ids {
            self.names.remove(id);
        }
        Ok(())
    }
}
