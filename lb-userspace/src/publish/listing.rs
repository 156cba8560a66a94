//! Keys and names: what makes a frontend that is ready known to connects and to tools.
//!
//! No key may be inserted here while a deletion forbids it (see [`super`]).

use std::sync::Arc;

use lb_common::Range;

use super::{
    Failure, Family, Grace, Partial, Publisher, Store, StoreError,
    publisher::{Entry, Resting},
};
use crate::model::{Backends, Frontend, FrontendKey, FrontendKind, Target};

impl<S: Store, G: Grace> Publisher<S, G> {
    /// Inserts the keys of new frontends, if a deletion does not forbid it for now. One that the
    /// kernel refuses is taken back.
    pub(super) fn list(&mut self) -> Vec<Failure> {
        if self.unlisted.is_empty() || !self.limbo.is_past(self.insert_after) {
            return Vec::new();
        }
        let mut keys = std::mem::take(&mut self.unlisted);
        keys.sort_by_key(|key| Family::of(&key.address));
        let mut entries = Vec::with_capacity(keys.len());
        let mut ports = Vec::with_capacity(keys.len());
        for key in &keys {
            let entry = self.frontends.get_mut(key).expect("unlisted frontends have entries");
            entry.listed = true;
            entries.push((*key, entry.slot));
            ports.push(entry.port);
        }
        // Names first, so that tools never meet a frontend without one.
        self.name_ports(ports);
        let mut failures = Vec::new();
        for entries in
            entries.chunk_by(|(a, _), (b, _)| Family::of(&a.address) == Family::of(&b.address))
        {
            let family = Family::of(&entries[0].0.address);
            let mut rest = entries;
            while let Err(Partial { done, source }) = self.store.insert_frontends(family, rest) {
                let key = rest[done].0;
                rest = &rest[done + 1..];
                failures.push(self.take_back(key, source));
            }
        }
        failures
    }

    /// Undoes a frontend whose key could not be inserted. It is tried again as upkeep.
    fn take_back(&mut self, key: FrontendKey, source: StoreError) -> Failure {
        let entry = self.frontends[&key];
        let port = &self.ports[entry.port];
        let name = port.name.clone();
        let target = match entry.range {
            Range::PASS => Target::Pass,
            Range::EMPTY => Target::Balance(Arc::new(Backends::V4(Box::default()))),
            range => Target::Balance(port.sets[port.set_of(range)].backends.clone()),
        };
        let Entry { kind, affinity, host_only, .. } = entry;
        self.discard(key);
        // What found no room is a newer state.
        if !self.unmet.contains_key(&key) {
            let frontend = Frontend { name: name.clone(), kind, affinity, host_only, target };
            self.refused.insert(key, frontend);
        }
        Failure { key, name, source: source.into() }
    }

    /// Forgets a frontend whose key is not in the table.
    pub(super) fn discard(&mut self, key: FrontendKey) {
        let Some(entry) = self.frontends.remove(&key) else { return };
        // A socket may remember the slot as this key's, from an earlier time.
        self.put_range(entry.slot, Range::GONE);
        self.limbo.retire(Resting::Slot(entry.slot));
        self.release(entry.port, entry.range);
        self.leave_port(entry.port);
        self.count_node_port(key, entry.kind == FrontendKind::NodePort, false);
    }

    /// Makes the names of ports known to tools, and to the next agent, which finds their ids by
    /// them. What the kernel refuses is tried again as upkeep. Returns whether it took all.
    pub(super) fn name_ports(&mut self, mut ports: Vec<u32>) -> bool {
        ports.retain(|port| !self.ports[*port].named);
        ports.sort_unstable();
        ports.dedup();
        let names = ports.iter().map(|port| (self.ports[*port].id, &*self.ports[*port].name));
        let done = match self.store.insert_names(&names.collect::<Vec<_>>()) {
            Ok(()) => ports.len(),
            Err(Partial { done, source: StoreError { call, table, source } }) => {
                // Said once, until all have their name.
                if !std::mem::replace(&mut self.names_due, true) {
                    tracing::warn!(
                        error = %source,
                        missing = ports.len() - done,
                        "{call} on {table} failed: Service ports have no name for tools for now"
                    );
                }
                done
            }
        };
        for port in &ports[..done] {
            self.ports[*port].named = true;
        }
        done == ports.len()
    }

    /// Tries again to name what could not be named.
    pub(super) fn name_the_rest(&mut self) {
        if self.names_due {
            self.names_due = !self.name_ports(self.ports.unnamed());
        }
    }

    /// Counts one frontend of a port less.
    pub(super) fn leave_port(&mut self, port: u32) {
        if let Some(port) = self.ports.leave(port)
            && port.named
        {
            self.forget_names(&[port.id]);
        }
    }

    pub(super) fn forget_names(&mut self, ids: &[u32]) {
        if let Err(error) = self.store.delete_names(ids) {
            tracing::warn!(error = %error.source.source, "names of deleted frontends stay behind");
        }
    }
}
