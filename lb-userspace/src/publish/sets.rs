//! Sets of backends in the tables: written once for all frontends of a Service port that have the
//! same, and given back when the last of them leaves.
//!
//! Nothing here may give a block back while a frontend's range lies in it.

use std::{net::SocketAddr, sync::Arc};

use lb_common::Range;
use rustc_hash::FxHashSet;

use super::{
    Family, Grace, Publisher, Store,
    ports::Set,
    publisher::{Patience, Stop},
};
use crate::{
    model::{Backends, Frontend, FrontendKey, Target},
    plan::placement::{self, Backend},
};

impl<S: Store, G: Grace> Publisher<S, G> {
    /// The range of a frontend of this port that has this target, which counts as a user of its
    /// set. The set is written if the port has no equal one.
    pub(super) fn obtain(
        &mut self,
        port: u32,
        target: &Target,
        patience: Patience,
    ) -> Result<Range, Stop> {
        let backends = match target {
            Target::Pass => return Ok(Range::PASS),
            Target::Balance(backends) if backends.is_empty() => return Ok(Range::EMPTY),
            Target::Balance(backends) => backends,
        };
        if let Some(block) = self.ports[port].share(backends) {
            return Ok(block);
        }
        let placed = self.place(port, backends);
        let (family, count) = (self.ports[port].family, placed.len() as u32);
        let first = self.take_block(family, count, patience)?;
        self.store.write_backends(family, first, &placed);
        let (block, backends) = (Range { first, count }, backends.clone());
        self.ports[port].sets.push(Set { block, users: 1, narrowed: false, backends });
        Ok(block)
    }

    /// Whether the frontend's backends stand in the tables, or would find room at once. Cheap, unlike
    /// finding out by [`obtain`](Self::obtain).
    pub(super) fn has_room_for(&self, key: &FrontendKey, frontend: &Frontend) -> bool {
        let Target::Balance(backends) = &frontend.target else { return true };
        let family = Family::of(&key.address);
        backends.len() <= self.blocks[family].longest() as usize
            || self.ports.find(family, &frontend.name).is_some_and(|port| port.has(backends))
    }

    fn place(&mut self, port: u32, wanted: &Backends) -> Vec<Backend> {
        let port = &self.ports[port];
        let standing = port.sets.iter().flat_map(|set| read(&self.store, port.family, set.block));
        let mut next = self.ids.next.backend;
        let recall = |address| self.ids.backend(port.id, address);
        let placed = placement::place(wanted, standing, recall, &mut next);
        self.ids.next.backend = next;
        placed
    }

    /// Counts one user less of the set in which a frontend's former range lies, if it has backends.
    pub(super) fn release(&mut self, port: u32, range: Range) {
        if range.count == 0 {
            return;
        }
        let index = self.ports[port].set_of(range);
        let set = &mut self.ports[port].sets[index];
        set.users -= 1;
        if set.users == 0 {
            let set = self.ports[port].sets.swap_remove(index);
            self.retire_block(self.ports[port].family, set.block);
        } else if set.narrowed {
            self.trim(port, index);
        }
    }

    /// Takes out of force what a frontend has but should not, when there is no room for what it
    /// should have: it keeps the longest run of its backends that are still wanted, where it
    /// stands. A backend that is gone must not be connected to, however full the table is. Other
    /// frontends of the same set keep it until they are told: they may still want all of it.
    pub(super) fn narrow(&mut self, key: FrontendKey, target: &Target) {
        let (Some(&entry), Target::Balance(wanted)) = (self.frontends.get(&key), target) else {
            return;
        };
        let (old, port) = (entry.range, &self.ports[entry.port]);
        let kept = placement::longest_run(read(&self.store, port.family, old), wanted);
        let count = kept.len() as u32;
        if count == old.count {
            return;
        }
        let range = match count {
            0 => Range::EMPTY,
            _ => Range { first: old.first + kept.start as u32, count },
        };
        self.put_range(entry.slot, range);
        if let Some(entry) = self.frontends.get_mut(&key) {
            entry.range = range;
        }
        if count == 0 {
            self.release(entry.port, old);
        } else {
            let index = self.ports[entry.port].set_of(old);
            self.ports[entry.port].sets[index].narrowed = true;
            self.trim(entry.port, index);
        }
    }

    /// Retires what of a narrowed set's block lies in no user's range any more.
    fn trim(&mut self, port: u32, index: usize) {
        let block = self.ports[port].sets[index].block;
        let end = |range: Range| range.first + range.count;
        let inside = |range: Range| block.first <= range.first && end(range) <= end(block);
        // A walk through all frontends: only a full table leads here.
        let users = self
            .frontends
            .values()
            .filter(|entry| entry.port == port && entry.range.count > 0 && inside(entry.range));
        let hull = users.map(|entry| (entry.range.first, end(entry.range)));
        let Some((first, last)) = hull.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else { return };
        let kept = Range { first, count: last - first };
        if kept == block {
            return;
        }
        let family = self.ports[port].family;
        let set = &mut self.ports[port].sets[index];
        set.block = kept;
        set.backends = Arc::new(among(&set.backends, read(&self.store, family, kept)));
        self.retire_block(family, Range { first: block.first, count: first - block.first });
        self.retire_block(family, Range { first: last, count: end(block) - last });
    }
}

/// The backends of a range, in the order of the table.
fn read<S: Store>(store: &S, family: Family, range: Range) -> impl Iterator<Item = Backend> {
    (0..range.count).map(move |offset| store.backend(family, range.first + offset))
}

/// Those of a set's backends that are among these.
fn among(backends: &Backends, kept: impl Iterator<Item = Backend>) -> Backends {
    let kept: FxHashSet<SocketAddr> = kept.map(|backend| backend.address).collect();
    match backends {
        Backends::V4(all) => {
            let kept = all.iter().filter(|address| kept.contains(&SocketAddr::from(**address)));
            Backends::V4(kept.copied().collect())
        }
        Backends::V6(all) => {
            let kept = all.iter().filter(|address| kept.contains(&SocketAddr::from(**address)));
            Backends::V6(kept.copied().collect())
        }
    }
}
