//! The Service ports that frontends belong to, and the sets of backends that each port has in the
//! tables.
//!
//! A port is there while a frontend is, even one that is marked gone: it comes back as the same
//! port. Its frontends with equal backends share one set. Nothing here touches a table.

use std::{
    ops::{Index, IndexMut},
    sync::Arc,
};

use lb_common::Range;
use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use super::{Family, PerFamily};
use crate::model::Backends;

/// A Service port in one family.
pub(super) struct Port {
    pub(super) name: Arc<str>,
    pub(super) family: Family,
    pub(super) id: u32,
    /// Whether the name is in `lb_names`.
    pub(super) named: bool,
    frontends: u32,
    /// Most ports have one set, and two while it is replaced.
    pub(super) sets: SmallVec<[Set; 2]>,
}

/// Backends that stand in the tables.
pub(super) struct Set {
    pub(super) block: Range,
    /// Frontends whose range lies in the block: all of it, unless the set is narrowed.
    pub(super) users: u32,
    /// Whether a user may have a part of the block only.
    pub(super) narrowed: bool,
    /// What stands in the block. Shared with the model, which keeps it too.
    pub(super) backends: Arc<Backends>,
}

/// All Service ports.
#[derive(Default)]
pub(super) struct Ports {
    by_name: PerFamily<FxHashMap<Arc<str>, u32>>,
    ports: Slab<Port>,
}

impl Ports {
    /// Counts one frontend more, of a port that is made if there is none. `new_id` gives it an id.
    pub(super) fn join(
        &mut self,
        family: Family,
        name: &Arc<str>,
        new_id: impl FnOnce() -> u32,
    ) -> u32 {
        if let Some(&port) = self.by_name[family].get(name) {
            self[port].frontends += 1;
            return port;
        }
        let (id, sets) = (new_id(), SmallVec::new());
        let port = Port { name: name.clone(), family, id, named: false, frontends: 1, sets };
        let port = u32::try_from(self.ports.insert(port)).expect("fewer ports than frontends");
        self.by_name[family].insert(name.clone(), port);
        port
    }

    /// Counts one frontend less. A port that has none left is forgotten and returned.
    pub(super) fn leave(&mut self, port: u32) -> Option<Port> {
        self[port].frontends -= 1;
        if self[port].frontends > 0 {
            return None;
        }
        let port = self.ports.remove(port as usize);
        debug_assert!(port.sets.is_empty(), "a set without a frontend");
        self.by_name[port.family].remove(&port.name);
        Some(port)
    }

    /// Those whose name is not in `lb_names`.
    pub(super) fn unnamed(&self) -> Vec<u32> {
        self.ports.iter().filter(|(_, port)| !port.named).map(|(index, _)| index as u32).collect()
    }

    /// The port of this name.
    pub(super) fn find(&self, family: Family, name: &str) -> Option<&Port> {
        self.by_name[family].get(name).map(|port| &self[*port])
    }
}

impl Index<u32> for Ports {
    type Output = Port;

    fn index(&self, port: u32) -> &Port {
        &self.ports[port as usize]
    }
}

impl IndexMut<u32> for Ports {
    fn index_mut(&mut self, port: u32) -> &mut Port {
        &mut self.ports[port as usize]
    }
}

impl Set {
    fn is(&self, backends: &Arc<Backends>) -> bool {
        Arc::ptr_eq(&self.backends, backends) || self.backends == *backends
    }
}

impl Port {
    /// The set that a frontend's range lies in.
    ///
    /// # Panics
    ///
    /// If the port has no such set.
    pub(super) fn set_of(&self, range: Range) -> usize {
        let found = self.sets.iter().position(|set| {
            set.block.first <= range.first && range.first - set.block.first < set.block.count
        });
        found.expect("a frontend's range lies in a set of its port")
    }

    /// Whether these backends stand in the tables.
    pub(super) fn has(&self, backends: &Arc<Backends>) -> bool {
        self.sets.iter().any(|set| set.is(backends))
    }

    /// Gives the set of these backends one user more, if there is such a set.
    pub(super) fn share(&mut self, backends: &Arc<Backends>) -> Option<Range> {
        let set = self.sets.iter_mut().find(|set| set.is(backends))?;
        set.users += 1;
        // The newer allocation is the one that the model goes on keeping.
        set.backends.clone_from(backends);
        Some(set.block)
    }
}
