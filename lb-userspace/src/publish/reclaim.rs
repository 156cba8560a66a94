//! Reclaiming: grace periods, deleting the keys of frontends that went away, and trying again what
//! found no room.
//!
//! Nothing here may give an index back before a grace period has passed since it was retired.

use lb_common::{FrontendKey4, Range};

use super::{
    Failure, Grace, GraceError, Publisher, Reason, Store,
    publisher::{Patience, Retired, Stop},
};

/// Keys of gone frontends are deleted when no frontend waits to be inserted, or when there are so
/// many of them; deleting makes new frontends wait for a grace period.
const PURGE_AT: usize = 1024;

impl<S: Store, G: Grace> Publisher<S, G> {
    /// Does what became possible or due: reclaims after a grace period, inserts the frontends that
    /// waited for it, and tries again what found no room. To be called when a grace period ends,
    /// and with `idle` when nothing else is to be done. Returns new failures.
    pub fn maintain(&mut self, idle: bool) -> Result<Vec<Failure>, GraceError> {
        self.reclaim_if_over()?;
        let failures = self.list();
        if idle {
            self.retry_due |= !self.refused.is_empty();
            self.unmet.append(&mut self.refused);
        }
        if std::mem::take(&mut self.retry_due) {
            self.retry()?;
        }
        if self.unlisted.is_empty() && (idle || self.gone.len() >= PURGE_AT) {
            self.purge();
        }
        self.start_grace_if_needed()?;
        Ok(failures)
    }

    /// Waits until nothing is in limbo and every key is inserted or deleted.
    pub fn settle(&mut self) -> Result<Vec<Failure>, GraceError> {
        let mut failures = self.list();
        self.purge();
        while !self.limbo.is_empty() {
            self.pass_grace()?;
            failures.extend(self.list());
        }
        Ok(failures)
    }

    /// Whether nothing waits for a grace period or for [`Self::maintain`].
    pub fn is_settled(&self) -> bool {
        let nothing_waits = self.gone.is_empty() && self.unlisted.is_empty();
        nothing_waits && self.limbo.is_empty() && self.refused.is_empty() && !self.retry_due
    }

    pub(super) fn start_grace_if_needed(&mut self) -> Result<(), GraceError> {
        if !self.limbo.is_empty() && !self.limbo.under_way() {
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

    pub(super) fn retire_block(&mut self, range: Range) {
        if range.count > 0 {
            self.limbo_backends += range.count;
            self.limbo.retire(Retired::Block(range));
        }
    }

    /// Takes consecutive entries of `lb_backends4`. Waits for grace periods if that can help.
    pub(super) fn take_block(&mut self, count: u32, patience: Patience) -> Result<u32, Stop> {
        loop {
            if let Some(first) = self.blocks.take(count) {
                return Ok(first);
            }
            let free = self.blocks.free();
            let hope = self.limbo_backends > 0 && free + self.limbo_backends >= count;
            if patience == Patience::Pass || !hope {
                return Err(Stop::Frontend(Reason::Full {
                    table: "lb_backends4",
                    flag: "--max-backends",
                    needed: count,
                    longest: self.blocks.longest(),
                    free,
                    capacity: self.blocks.capacity(),
                }));
            }
            self.wait()?;
        }
    }

    /// Takes an entry of `lb_services`. Waits for grace periods if that can help.
    pub(super) fn take_slot(&mut self, patience: Patience) -> Result<u32, Stop> {
        loop {
            if let Some(slot) = self.slots.take() {
                return Ok(slot);
            }
            self.purge();
            if patience == Patience::Pass || self.limbo.is_empty() {
                return Err(full("lb_services", self.slots.capacity()));
            }
            self.wait()?;
        }
    }

    /// Makes sure that `lb_frontends4` has room for one key more.
    pub(super) fn make_room_for_key(&mut self) -> Result<(), Stop> {
        if self.frontends.len() >= self.max_frontends as usize {
            self.purge();
        }
        if self.frontends.len() >= self.max_frontends as usize {
            return Err(full("lb_frontends4", self.max_frontends));
        }
        Ok(())
    }

    /// Deletes the keys of gone frontends. From here on no key is inserted before a grace period
    /// has passed: the hash element of a deleted key is reused at once, and written by memcpy,
    /// which a reader that still holds the element could see half done.
    fn purge(&mut self) {
        let mut keys = std::mem::take(&mut self.gone);
        keys.retain(|key| self.frontends.get(key).is_some_and(|entry| entry.range == Range::GONE));
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return;
        }
        let deleted = match self.store.delete_frontends(&keys) {
            Ok(()) => &keys[..],
            Err(partial) => {
                tracing::warn!(error = %partial.source.source, "keys of deleted frontends stay");
                self.gone.extend_from_slice(&keys[partial.done..]);
                &keys[..partial.done]
            }
        };
        let mut ids = Vec::with_capacity(deleted.len());
        for key in deleted {
            let entry = self.frontends.remove(key).expect("gone frontends have entries");
            self.limbo.retire(Retired::Slot(entry.slot));
            ids.push(entry.id);
        }
        self.insert_after = self.limbo.next();
        self.forget_names(&ids);
    }

    /// Brings frontends that found no room to their wanted state, if there is room now.
    fn retry(&mut self) -> Result<(), GraceError> {
        let keys: Vec<FrontendKey4> = self.unmet.keys().copied().collect();
        for key in keys {
            if let Some(frontend) = self.unmet.remove(&key) {
                // A failure was reported when the state was first wanted.
                self.set_or_keep(key, frontend, Patience::Pass)?;
            }
        }
        self.list();
        Ok(())
    }

    /// Waits for a grace period because a table has nothing left, and counts that.
    fn wait(&mut self) -> Result<(), GraceError> {
        self.stats.waits += 1;
        self.pass_grace()
    }

    fn pass_grace(&mut self) -> Result<(), GraceError> {
        self.start_grace_if_needed()?;
        self.grace.wait()?;
        self.reclaim();
        Ok(())
    }

    fn reclaim(&mut self) {
        self.stats.grace_periods += 1;
        self.retry_due = !self.unmet.is_empty();
        for retired in self.limbo.finish() {
            match retired {
                Retired::Slot(slot) => self.slots.give(slot),
                Retired::Block(range) => {
                    self.blocks.give(range.first, range.count);
                    self.limbo_backends -= range.count;
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
