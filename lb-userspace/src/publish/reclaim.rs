//! Reclaiming: grace periods, deleting the keys of frontends that went away, and trying again what
//! found no room.
//!
//! Nothing here may give an index back before a grace period has passed since it was retired.

use lb_common::Range;

use super::{
    Failure, Family, Grace, GraceError, PerFamily, Publisher, Reason, Store,
    publisher::{Patience, Resting, Stop},
};
use crate::{
    model::FrontendKey,
    plan::{limbo::Period, slots::Slots},
};

/// Keys of gone frontends are deleted as upkeep, or when there are so many of them, but not while a
/// frontend waits to be inserted; deleting makes new frontends wait for a grace period.
const PURGE_AT: usize = 1024;

impl<S: Store, G: Grace> Publisher<S, G> {
    /// Does what became possible or due: reclaims after a grace period, inserts the frontends that
    /// waited for it, and tries again what found no room. To be called when a grace period ends,
    /// and with `upkeep` when nothing else is to be done, or [`Self::needs_upkeep`] for long.
    /// Returns new failures.
    pub fn maintain(&mut self, upkeep: bool) -> Result<Vec<Failure>, GraceError> {
        self.reclaim_if_over()?;
        let failures = self.list();
        if upkeep {
            self.name_the_rest();
            self.retry_due |= !self.refused.is_empty();
            self.unmet.append(&mut self.refused);
        }
        if std::mem::take(&mut self.retry_due) {
            self.retry()?;
        }
        if self.unlisted.is_empty() && (upkeep || self.gone.len() >= PURGE_AT) {
            self.purge();
        }
        self.start_grace_if_due()?;
        Ok(failures)
    }

    /// Marks this moment: once the period returned is past, no reader is left that began before.
    /// It starts with the next [`Self::apply`] or [`Self::maintain`], even if nothing else waits.
    pub fn fence(&mut self) -> Period {
        self.limbo.fence()
    }

    /// Whether a grace period has ended, as far as [`Self::maintain`] has noticed.
    pub fn is_past(&self, period: Period) -> bool {
        self.limbo.is_past(period)
    }

    /// Waits until nothing is in limbo and every key is inserted or deleted.
    pub fn settle(&mut self) -> Result<Vec<Failure>, GraceError> {
        let mut failures = self.list();
        self.purge();
        while self.limbo.is_due() {
            self.pass_grace()?;
            failures.extend(self.list());
        }
        Ok(failures)
    }

    /// Whether the key of every frontend that is to be there is in the table.
    pub fn has_listed_all(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Whether nothing waits for a grace period or for [`Self::maintain`].
    pub fn is_settled(&self) -> bool {
        !self.needs_upkeep() && self.unlisted.is_empty() && !self.limbo.is_due() && !self.retry_due
    }

    /// Whether something waits for a moment in which nothing else is to be done.
    pub fn needs_upkeep(&self) -> bool {
        !self.gone.is_empty() || !self.refused.is_empty() || self.names_due
    }

    pub(super) fn start_grace_if_due(&mut self) -> Result<(), GraceError> {
        if self.limbo.is_due() && !self.limbo.under_way() {
            self.grace.start()?;
            self.limbo.start();
        }
        Ok(())
    }

    pub(super) fn reclaim_if_over(&mut self) -> Result<(), GraceError> {
        if self.limbo.under_way() && self.grace.is_over()? {
            self.reclaim();
        }
        Ok(())
    }

    pub(super) fn retire_block(&mut self, family: Family, range: Range) {
        if range.count > 0 {
            self.limbo_backends[family] += range.count;
            self.limbo.retire(Resting::Block(family, range));
        }
    }

    /// Takes consecutive entries of a table of backends. Waits for grace periods if that can help.
    pub(super) fn take_block(
        &mut self,
        family: Family,
        count: u32,
        patience: Patience,
    ) -> Result<u32, Stop> {
        loop {
            let blocks = &mut self.blocks[family];
            if let Some(first) = blocks.take(count) {
                return Ok(first);
            }
            let (free, resting) = (blocks.free(), self.limbo_backends[family]);
            let hope = resting > 0 && free + resting >= count;
            if patience == Patience::Pass || !hope {
                return Err(Stop::Frontend(Reason::Full {
                    table: family.backends(),
                    flag: "--max-backends",
                    needed: count,
                    longest: blocks.longest(),
                    free,
                    capacity: blocks.capacity(),
                }));
            }
            self.wait()?;
        }
    }

    /// Takes an entry of `lb_services`. Waits for grace periods if that can help.
    pub(super) fn take_slot(&mut self, family: Family, patience: Patience) -> Result<u32, Stop> {
        loop {
            if let Some(index) = self.slots[family].take() {
                return Ok(family.slot(index));
            }
            self.purge();
            if patience == Patience::Pass || self.limbo.is_empty() {
                return Err(full("lb_services", self.slots[family].capacity()));
            }
            self.wait()?;
        }
    }

    /// Makes sure that there may be one frontend more.
    pub(super) fn make_room_for_key(&mut self, family: Family) -> Result<(), Stop> {
        if self.is_full() {
            self.purge();
        }
        if self.is_full() {
            return Err(full(family.frontends(), self.max_frontends));
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.frontends.len() >= self.max_frontends as usize
    }

    /// Whether there is room for a frontend only when the keys of gone ones are deleted.
    pub(super) fn needs_a_deletion(&self, key: &FrontendKey) -> bool {
        self.is_full() && !self.gone.is_empty() && !self.frontends.contains_key(key)
    }

    /// Waits until the keys that wait for a deletion's grace period can be inserted, and does so. To
    /// be called before another deletion, which would make them wait for one more: without end, in a
    /// full table that changes all the time.
    pub(super) fn list_those_that_wait(&mut self) -> Result<Vec<Failure>, GraceError> {
        while !self.limbo.is_past(self.insert_after) {
            self.wait()?;
        }
        Ok(self.list())
    }

    /// Deletes the keys of gone frontends. From here on no key is inserted before a grace period
    /// has passed: the hash element of a deleted key is reused at once, and written by memcpy,
    /// which a reader that still holds the element could see half done.
    fn purge(&mut self) {
        let mut keys = std::mem::take(&mut self.gone);
        keys.retain(|key| self.frontends.get(key).is_some_and(|entry| entry.gone));
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return;
        }
        let mut names = Vec::new();
        let before = self.frontends.len();
        for family in [Family::V4, Family::V6] {
            let keys: Vec<_> =
                keys.iter().copied().filter(|key| Family::of(&key.address) == family).collect();
            let deleted = match self.store.delete_frontends(family, &keys) {
                Ok(()) => &keys[..],
                Err(partial) => {
                    tracing::warn!(error = %partial.source.source, "keys of deleted frontends stay");
                    self.gone.extend_from_slice(&keys[partial.done..]);
                    &keys[..partial.done]
                }
            };
            for key in deleted {
                let entry = self.frontends.remove(key).expect("gone frontends have entries");
                self.limbo.retire(Resting::Slot(entry.slot));
                let port = self.ports.leave(entry.port);
                names.extend(port.filter(|port| port.named).map(|port| port.id));
            }
        }
        if self.frontends.len() < before {
            self.insert_after = self.limbo.next();
        }
        self.forget_names(&names);
    }

    /// Brings frontends that found no room to their wanted state, if there is room now.
    fn retry(&mut self) -> Result<(), GraceError> {
        let keys: Vec<FrontendKey> = self.unmet.keys().copied().collect();
        for key in keys {
            // Each grace period may have made room, and seldom has for what is large.
            if !self.unmet.get(&key).is_some_and(|frontend| self.has_room_for(&key, frontend)) {
                continue;
            }
            if let Some(frontend) = self.unmet.remove(&key) {
                self.set_or_keep(key, frontend, Patience::Pass)?;
            }
        }
        // Whatever fails now did so, and was reported, when the state was first wanted.
        self.list();
        Ok(())
    }

    /// Waits for a grace period because a table has nothing left, and counts that.
    fn wait(&mut self) -> Result<(), GraceError> {
        self.stats.waits += 1;
        self.pass_grace()
    }

    /// Gives back a slot that no reader can have seen.
    pub(super) fn give_slot(&mut self, slot: u32) {
        give_slot(&mut self.slots, slot);
    }

    fn pass_grace(&mut self) -> Result<(), GraceError> {
        self.start_grace_if_due()?;
        self.grace.wait()?;
        self.reclaim();
        Ok(())
    }

    fn reclaim(&mut self) {
        self.stats.grace_periods += 1;
        self.retry_due = !self.unmet.is_empty();
        for retired in self.limbo.finish() {
            match retired {
                Resting::Slot(slot) => give_slot(&mut self.slots, slot),
                Resting::Block(family, range) => {
                    self.blocks[family].give(range.first, range.count);
                    self.limbo_backends[family] -= range.count;
                }
            }
        }
    }
}

fn full(table: &'static str, capacity: u32) -> Stop {
    Stop::Frontend(Reason::Full {
        table,
        flag: "--max-frontends",
        needed: 1,
        longest: 0,
        free: 0,
        capacity,
    })
}

fn give_slot(slots: &mut PerFamily<Slots>, slot: u32) {
    let (family, index) = Family::of_slot(slot);
    slots[family].give(index);
}
