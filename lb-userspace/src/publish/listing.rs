//! Keys and names: what makes a frontend that is ready known to connects and to tools.
//!
//! No key may be inserted here while a deletion forbids it (see [`super`]).

use std::sync::Arc;

use lb_common::{FrontendKey4, FrontendValue};

use super::Frontend;
use super::{
    Failure, Grace, Partial, Publisher, Store, StoreError,
    publisher::{Entry, Retired},
};
use crate::plan::placement;

impl<S: Store, G: Grace> Publisher<S, G> {
    /// Inserts the keys of new frontends, if a deletion does not forbid it for now. One that the
    /// kernel refuses is taken back.
    pub(super) fn list(&mut self) -> Vec<Failure> {
        if self.unlisted.is_empty() || !self.limbo.is_past(self.insert_after) {
            return Vec::new();
        }
        let keys = std::mem::take(&mut self.unlisted);
        let mut entries = Vec::with_capacity(keys.len());
        let mut names = Vec::with_capacity(keys.len());
        for key in &keys {
            let entry = self.frontends.get_mut(key).expect("unlisted frontends have entries");
            entry.listed = true;
            entries.push((*key, FrontendValue { slot: entry.slot, tag: key.tag() }));
            names.push((entry.id, entry.name.clone()));
        }
        // Names first, so that tools never meet a frontend without one.
        let names: Vec<(u32, &str)> = names.iter().map(|(id, name)| (*id, &**name)).collect();
        if let Err(error) = self.store.insert_names(&names) {
            tracing::warn!(error = %error.source.source, "some frontends have no name for tools");
        }
        let mut failures = Vec::new();
        let mut rest = &entries[..];
        while let Err(Partial { done, source }) = self.store.insert_frontends(rest) {
            let key = rest[done].0;
            rest = &rest[done + 1..];
            failures.push(self.take_back(key, source));
        }
        failures
    }

    /// Undoes a frontend whose key could not be inserted. It is tried again when idle.
    fn take_back(&mut self, key: FrontendKey4, source: StoreError) -> Failure {
        let entry = self.discard(key).expect("only frontends that exist are taken back");
        // Nothing reuses the block before a grace period, so it can still be read.
        let backends = self.backends(entry.range).iter().map(placement::address).collect();
        let name = entry.name;
        self.refused.insert(key, Frontend { name: name.clone(), backends });
        Failure { key, name, source: source.into() }
    }

    /// Forgets a frontend whose key is not in the table.
    pub(super) fn discard(&mut self, key: FrontendKey4) -> Option<Entry> {
        let entry = self.frontends.remove(&key)?;
        self.limbo.retire(Retired::Slot(entry.slot));
        self.retire_block(entry.range);
        self.forget_names(&[entry.id]);
        Some(entry)
    }

    /// Gives a frontend to another Service port, without a moment in which it is nobody's.
    pub(super) fn rename(&mut self, key: FrontendKey4, name: Arc<str>) {
        let id = self.new_service_id();
        let entry = self.frontends.get_mut(&key).expect("a frontend that is renamed exists");
        let (slot, old) = (entry.slot, std::mem::replace(&mut entry.id, id));
        entry.name = name.clone();
        if entry.listed
            && let Err(error) = self.store.insert_names(&[(id, &name)])
        {
            tracing::warn!(%name, error = %error.source.source, "a frontend has no name for tools");
        }
        self.store.identify(slot, id);
        self.forget_names(&[old]);
    }

    pub(super) fn forget_names(&mut self, ids: &[u32]) {
        if let Err(error) = self.store.delete_names(ids) {
            tracing::warn!(error = %error.source.source, "names of deleted frontends stay behind");
        }
    }
}
