//! The writer of the tables: from wanted frontends to stores in the right order.
//!
//! What is published is read back from the store rather than kept twice. Keys and names are in
//! `listing`, grace periods in `reclaim`. Nothing here may write where a reader can look.

use std::{collections::BTreeMap, net::SocketAddrV4, sync::Arc};

use lb_common::{Backend4, FrontendKey4, Range};
use rustc_hash::FxHashMap;

use super::{Failure, Frontend, FrontendChange, Grace, GraceError, Reason, Sizes, Store};
use crate::plan::{
    blocks::Blocks,
    limbo::{Limbo, Period},
    placement,
    slots::Slots,
};

/// What a publisher has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Ranges stored.
    pub publishes: u64,
    /// Times that publishing had to wait for a grace period, since the limbo held all that was
    /// left of a table.
    pub waits: u64,
    /// Grace periods that ended.
    pub grace_periods: u64,
    /// Entries of `lb_backends4` in use, without those in limbo.
    pub backends: u64,
}

/// A frontend in the tables.
pub(super) struct Entry {
    pub(super) slot: u32,
    pub(super) range: Range,
    pub(super) id: u32,
    /// Whether the key is in `lb_frontends4`.
    pub(super) listed: bool,
    pub(super) name: Arc<str>,
}

/// What waits in the limbo.
pub(super) enum Retired {
    Block(Range),
    Slot(u32),
}

/// A change that cannot be carried out: only the frontend suffers, or everything ends.
pub(super) enum Stop {
    Frontend(Reason),
    Agent(GraceError),
}

/// Whether a change may wait for grace periods to find room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is new: what the limbo holds is its budget too.
    Wait,
    /// It found no room before, and will be tried again without waiting.
    Pass,
}

impl From<GraceError> for Stop {
    fn from(error: GraceError) -> Self {
        Self::Agent(error)
    }
}

/// The only writer of one generation of tables.
pub struct Publisher<S, G> {
    pub(super) store: S,
    pub(super) grace: G,
    pub(super) blocks: Blocks,
    pub(super) slots: Slots,
    pub(super) limbo: Limbo<Retired>,
    /// Backends in limbo: what waiting can win.
    pub(super) limbo_backends: u32,
    pub(super) frontends: FxHashMap<FrontendKey4, Entry>,
    pub(super) max_frontends: u32,
    /// Frontends that are ready but for their key.
    pub(super) unlisted: Vec<FrontendKey4>,
    /// Frontends that are marked gone and whose key is still listed, or was when it was noted.
    pub(super) gone: Vec<FrontendKey4>,
    /// Keys may be inserted once this has passed.
    pub(super) insert_after: Period,
    /// Wanted states that found no room.
    pub(super) unmet: BTreeMap<FrontendKey4, Frontend>,
    /// Room was made since those were last tried.
    pub(super) retry_due: bool,
    /// Wanted states whose key the kernel refused: tried again when there is nothing else to do.
    pub(super) refused: BTreeMap<FrontendKey4, Frontend>,
    next_backend_id: u32,
    next_service_id: u32,
    pub(super) stats: Stats,
}

impl<S: Store, G: Grace> Publisher<S, G> {
    /// The writer of tables that are empty and of these sizes.
    pub fn new(store: S, grace: G, sizes: Sizes) -> Self {
        Self {
            store,
            grace,
            blocks: Blocks::new(sizes.backends),
            slots: Slots::new(sizes.services),
            limbo: Limbo::default(),
            limbo_backends: 0,
            frontends: FxHashMap::default(),
            max_frontends: sizes.frontends,
            unlisted: Vec::new(),
            gone: Vec::new(),
            insert_after: Period::NONE,
            unmet: BTreeMap::new(),
            retry_due: false,
            refused: BTreeMap::new(),
            next_backend_id: 1,
            next_service_id: 1,
            stats: Stats::default(),
        }
    }

    /// The store.
    #[cfg(test)]
    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// What has been done so far.
    pub fn stats(&self) -> Stats {
        let backends = self.blocks.capacity() - self.blocks.free() - self.limbo_backends;
        Stats { backends: backends.into(), ..self.stats }
    }

    /// Carries out changes, in their order. Each failure concerns its own frontend only; it is
    /// tried again when room is made, without being reported again.
    pub fn apply(
        &mut self,
        changes: impl IntoIterator<Item = FrontendChange>,
    ) -> Result<Vec<Failure>, GraceError> {
        self.reclaim_if_over()?;
        let mut failures = Vec::new();
        for FrontendChange { key, state } in changes {
            self.unmet.remove(&key);
            self.refused.remove(&key);
            match state {
                None => self.remove(key),
                Some(frontend) => {
                    failures.extend(self.set_or_keep(key, frontend, Patience::Wait)?);
                }
            }
        }
        failures.extend(self.list());
        self.start_grace_if_needed()?;
        Ok(failures)
    }

    /// Brings a frontend to its wanted state, or notes that state for later and says why.
    pub(super) fn set_or_keep(
        &mut self,
        key: FrontendKey4,
        frontend: Frontend,
        patience: Patience,
    ) -> Result<Option<Failure>, GraceError> {
        match self.set(key, &frontend, patience) {
            Ok(()) => Ok(None),
            Err(Stop::Agent(error)) => Err(error),
            Err(Stop::Frontend(source)) => {
                self.narrow(key, &frontend.backends);
                let name = frontend.name.clone();
                self.unmet.insert(key, frontend);
                Ok(Some(Failure { key, name, source }))
            }
        }
    }

    fn set(
        &mut self,
        key: FrontendKey4,
        frontend: &Frontend,
        patience: Patience,
    ) -> Result<(), Stop> {
        let Some(entry) = self.frontends.get(&key) else {
            return self.create(key, frontend, patience);
        };
        let (old, renamed) = (entry.range, entry.name != frontend.name);
        // Another Service port's backends get ids of their own, also where addresses are the same.
        let standing = if renamed { Vec::new() } else { self.backends(old) };
        let mut next_id = self.next_backend_id;
        match placement::place(&standing, &frontend.backends, &mut next_id) {
            None if !renamed && old != Range::GONE => {}
            placed => {
                let range = self.write_block(&placed.unwrap_or_default(), patience)?;
                // Not before there was room: a change that is tried again must not use ids up.
                self.next_backend_id = next_id;
                self.put_range(key, range);
                self.retire_block(old);
            }
        }
        if renamed {
            self.rename(key, frontend.name.clone());
        }
        Ok(())
    }

    fn create(
        &mut self,
        key: FrontendKey4,
        frontend: &Frontend,
        patience: Patience,
    ) -> Result<(), Stop> {
        self.make_room_for_key()?;
        // The block first: it is the more likely one to be refused.
        let mut next_id = self.next_backend_id;
        let placed = placement::place(&[], &frontend.backends, &mut next_id);
        let range = self.write_block(&placed.unwrap_or_default(), patience)?;
        let slot = match self.take_slot(patience) {
            Ok(slot) => slot,
            Err(stop) => {
                if range.count > 0 {
                    self.blocks.give(range.first, range.count);
                }
                return Err(stop);
            }
        };
        self.next_backend_id = next_id;
        let id = self.new_service_id();
        self.store.identify(slot, id);
        self.store.publish(slot, range);
        self.stats.publishes += 1;
        let name = frontend.name.clone();
        self.frontends.insert(key, Entry { slot, range, id, listed: false, name });
        self.unlisted.push(key);
        Ok(())
    }

    fn remove(&mut self, key: FrontendKey4) {
        let Some(entry) = self.frontends.get(&key) else { return };
        if entry.range == Range::GONE {
            return;
        }
        if entry.listed {
            let old = entry.range;
            self.put_range(key, Range::GONE);
            self.retire_block(old);
            self.gone.push(key);
        } else {
            self.unlisted.retain(|unlisted| *unlisted != key);
            self.discard(key);
        }
    }

    fn write_block(&mut self, backends: &[Backend4], patience: Patience) -> Result<Range, Stop> {
        if backends.is_empty() {
            return Ok(Range::EMPTY);
        }
        let count = backends.len() as u32;
        let first = self.take_block(count, patience)?;
        self.store.write_backends(first, backends);
        Ok(Range { first, count })
    }

    /// Takes out of force what a frontend has but should not, when there is no room for what it
    /// should have: it keeps the longest run of its backends that are still wanted, where it
    /// stands. A backend that is gone must not be connected to, however full the table is.
    fn narrow(&mut self, key: FrontendKey4, wanted: &[SocketAddrV4]) {
        let Some(entry) = self.frontends.get(&key) else { return };
        let old = entry.range;
        let kept = placement::longest_run(&self.backends(old), wanted);
        let (before, count) = (kept.start as u32, kept.len() as u32);
        if count == old.count {
            return;
        }
        let first = old.first + before;
        let after = Range { first: first + count, count: old.count - before - count };
        self.put_range(key, if count > 0 { Range { first, count } } else { Range::EMPTY });
        self.retire_block(Range { first: old.first, count: before });
        self.retire_block(after);
    }

    /// Puts a range in force. What of the old one is not in the new one is to be retired after.
    fn put_range(&mut self, key: FrontendKey4, range: Range) {
        let entry = self.frontends.get_mut(&key).expect("a frontend that changes exists");
        entry.range = range;
        self.store.publish(entry.slot, range);
        self.stats.publishes += 1;
    }

    pub(super) fn backends(&self, range: Range) -> Vec<Backend4> {
        (0..range.count).map(|offset| self.store.backend(range.first + offset)).collect()
    }

    pub(super) fn new_service_id(&mut self) -> u32 {
        placement::take_id(&mut self.next_service_id)
    }
}
