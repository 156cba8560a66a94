//! One frontend: from its wanted state to stores in the right order.
//!
//! Nothing here may write where a reader can look, but for the words of the frontend's slot, each
//! at once.

use lb_common::{Range, layout::HOST_ONLY};

use super::{
    Failure, Family, Grace, GraceError, Publisher, Store,
    family::tag,
    publisher::{Entry, Patience, Stop},
};
use crate::model::{Frontend, FrontendKey, FrontendKind, Protocol};

impl<S: Store, G: Grace> Publisher<S, G> {
    /// Brings a frontend to its wanted state, or notes that state for later and says why.
    pub(super) fn set_or_keep(
        &mut self,
        key: FrontendKey,
        frontend: Frontend,
        patience: Patience,
    ) -> Result<Option<Failure>, GraceError> {
        match self.set(key, &frontend, patience) {
            Ok(()) => Ok(None),
            Err(Stop::Agent(error)) => Err(error),
            Err(Stop::Frontend(source)) => {
                self.narrow(key, &frontend.target);
                let name = frontend.name.clone();
                self.unmet.insert(key, frontend);
                Ok(Some(Failure { key, name, source }))
            }
        }
    }

    fn set(
        &mut self,
        key: FrontendKey,
        frontend: &Frontend,
        patience: Patience,
    ) -> Result<(), Stop> {
        let next = self.ids.next;
        let family = Family::of(&key.address);
        let new_id = || self.ids.service(family, &frontend.name);
        let port = self.ports.join(family, &frontend.name, new_id);
        let done = match self.frontends.get(&key) {
            Some(entry) => self.change(key, *entry, port, frontend, patience),
            None => self.create(key, port, frontend, patience),
        };
        if done.is_err() {
            self.leave_port(port);
            // Nobody has seen them, and a change that is tried again must not use ids up.
            self.ids.next = next;
        }
        done
    }

    fn create(
        &mut self,
        key: FrontendKey,
        port: u32,
        frontend: &Frontend,
        patience: Patience,
    ) -> Result<(), Stop> {
        let family = Family::of(&key.address);
        self.make_room_for_key(family)?;
        let slot = self.take_slot(family, patience)?;
        let range = match self.obtain(port, &frontend.target, patience) {
            Ok(range) => range,
            Err(stop) => {
                self.give_slot(slot);
                return Err(stop);
            }
        };
        self.remember_ids();
        let Frontend { affinity, kind, host_only, .. } = *frontend;
        self.store.identify(slot, self.ports[port].id, affinity);
        self.store.set_traits(slot, flags(host_only), tag(&key));
        self.put_range(slot, range);
        let (listed, gone) = (false, false);
        let entry = Entry { range, slot, port, affinity, kind, host_only, listed, gone };
        self.frontends.insert(key, entry);
        self.unlisted.push(key);
        self.count_node_port(key, false, kind == FrontendKind::NodePort);
        Ok(())
    }

    /// Each word of the slot that changes is stored once: the identity, the traits, then the range.
    ///
    /// A reader may meet any mixture of old and new words, in whatever order they are stored, and it
    /// is harmless: its backend is one of the range that it loaded. When the frontend goes to another
    /// Service port, what a mixture gets wrong is whose backend that is. Backend ids are never shared
    /// between ports, so a client's affinity to the one port finds nothing in the other's range, and
    /// is at worst forgotten once; and a socket that was connected just then is at worst not closed
    /// together with its backend. The range comes last, so that its release store brings the rest
    /// along.
    fn change(
        &mut self,
        key: FrontendKey,
        old: Entry,
        port: u32,
        frontend: &Frontend,
        patience: Patience,
    ) -> Result<(), Stop> {
        let range = self.obtain(port, &frontend.target, patience)?;
        self.remember_ids();
        let Frontend { affinity, kind, host_only, .. } = *frontend;
        if old.listed && !self.ports[port].named {
            self.name_ports(vec![port]);
        }
        if (port, affinity) != (old.port, old.affinity) {
            self.store.identify(old.slot, self.ports[port].id, affinity);
        }
        if host_only != old.host_only {
            self.store.set_traits(old.slot, flags(host_only), tag(&key));
        }
        if range != old.range {
            self.put_range(old.slot, range);
        }
        self.frontends
            .insert(key, Entry { range, port, affinity, kind, host_only, gone: false, ..old });
        self.release(old.port, old.range);
        self.leave_port(old.port);
        let was_node_port = !old.gone && old.kind == FrontendKind::NodePort;
        self.count_node_port(key, was_node_port, kind == FrontendKind::NodePort);
        Ok(())
    }

    pub(super) fn remove(&mut self, key: FrontendKey) {
        let Some(&entry) = self.frontends.get(&key) else { return };
        if entry.gone {
            return;
        }
        if entry.listed {
            // Where the address is another proxy's from now on, nothing of it may be refused while
            // its mark waits to be listed.
            let range = if self.is_known(key) { Range::PASS } else { Range::GONE };
            self.put_range(entry.slot, range);
            self.frontends.insert(key, Entry { range, gone: true, ..entry });
            self.release(entry.port, entry.range);
            self.gone.push(key);
            self.count_node_port(key, entry.kind == FrontendKind::NodePort, false);
        } else {
            self.unlisted.retain(|unlisted| *unlisted != key);
            self.discard(key);
        }
    }

    /// Whether the key's address is marked as known, by another key than this one.
    fn is_known(&self, key: FrontendKey) -> bool {
        let mark = FrontendKey { address: key.address, port: 0, protocol: Protocol::Any };
        mark != key && self.frontends.get(&mark).is_some_and(|mark| !mark.gone)
    }

    /// Stores a range. What of the old one is not in the new one is to be released after.
    pub(super) fn put_range(&mut self, slot: u32, range: Range) {
        self.store.publish(slot, range);
        self.stats.publishes += 1;
    }

    /// Tells the store which ids come next, before any that it does not know of is published.
    fn remember_ids(&mut self) {
        let next = self.ids.next;
        if self.remembered != next {
            self.remembered = next;
            self.store.remember_ids(next.service, next.backend);
        }
    }

    /// Notes that a key is or is not a node port any more.
    pub(super) fn count_node_port(&mut self, key: FrontendKey, before: bool, now: bool) {
        if before == now {
            return;
        }
        let count = self.node_ports.entry((key.protocol, key.port)).or_default();
        *count = if now { *count + 1 } else { *count - 1 };
        let count = *count;
        if count == 0 {
            self.node_ports.remove(&(key.protocol, key.port));
        }
        if count == u32::from(now) {
            self.store.set_node_port(key.protocol, key.port, now);
        }
    }
}

fn flags(host_only: bool) -> u32 {
    if host_only { HOST_ONLY } else { 0 }
}
