//! The writer of the tables, and what it keeps.
//!
//! What becomes of one frontend is in `frontends`, of sets of backends in `sets`, of keys and names
//! in `listing`, of what readers may still hold in `reclaim`. Nothing here may write to a table.

use std::collections::BTreeMap;

use lb_common::Range;
use rustc_hash::FxHashMap;

use super::{
    Failure, Family, Grace, GraceError, Ids, PerFamily, Reason, Sizes, Store, ids::Next,
    ports::Ports,
};
use crate::{
    model::{Frontend, FrontendChange, FrontendKey, FrontendKind, Protocol},
    plan::{
        blocks::Blocks,
        limbo::{Limbo, Period},
        slots::Slots,
    },
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
    /// Entries of `lb_backends4` and `lb_backends6` in use, without those in limbo.
    pub backends: u64,
}

/// A frontend in the tables.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) range: Range,
    pub(super) slot: u32,
    /// Its Service port, which counts it.
    pub(super) port: u32,
    pub(super) affinity: u32,
    pub(super) kind: FrontendKind,
    pub(super) host_only: bool,
    /// Whether the key is in the table.
    pub(super) listed: bool,
    /// Whether it is taken out of force, and only its key is left.
    pub(super) gone: bool,
}

/// What waits in the limbo.
pub(super) enum Resting {
    Block(Family, Range),
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
    pub(super) blocks: PerFamily<Blocks>,
    pub(super) slots: PerFamily<Slots>,
    pub(super) limbo: Limbo<Resting>,
    /// Backends in limbo: what waiting can win.
    pub(super) limbo_backends: PerFamily<u32>,
    pub(super) ports: Ports,
    pub(super) frontends: FxHashMap<FrontendKey, Entry>,
    pub(super) max_frontends: u32,
    /// Frontends that are ready but for their key.
    pub(super) unlisted: Vec<FrontendKey>,
    /// Frontends that are marked gone and whose key is still listed, or was when it was noted.
    pub(super) gone: Vec<FrontendKey>,
    /// Keys may be inserted once this has passed.
    pub(super) insert_after: Period,
    /// Wanted states that found no room.
    pub(super) unmet: BTreeMap<FrontendKey, Frontend>,
    /// Room was made since those were last tried.
    pub(super) retry_due: bool,
    /// Wanted states whose key the kernel refused: tried again as upkeep.
    pub(super) refused: BTreeMap<FrontendKey, Frontend>,
    /// Names of ports were refused: tried again as upkeep.
    pub(super) names_due: bool,
    /// How many frontends each served node port has.
    pub(super) node_ports: FxHashMap<(Protocol, u16), u32>,
    pub(super) ids: Ids,
    /// What the store was told of the ids to come.
    pub(super) remembered: Next,
    pub(super) stats: Stats,
}

impl<S: Store, G: Grace> Publisher<S, G> {
    /// The writer of tables that are empty and of these sizes. `ids` goes on where the generation
    /// before stands, or is the default.
    pub fn new(mut store: S, grace: G, sizes: Sizes, ids: Ids) -> Self {
        let remembered = ids.next;
        store.remember_ids(remembered.service, remembered.backend);
        Self {
            store,
            grace,
            blocks: PerFamily::new(|_| Blocks::new(sizes.backends)),
            slots: PerFamily::new(|_| Slots::new(sizes.services)),
            limbo: Limbo::default(),
            limbo_backends: PerFamily::default(),
            ports: Ports::default(),
            frontends: FxHashMap::default(),
            max_frontends: sizes.frontends,
            unlisted: Vec::new(),
            gone: Vec::new(),
            insert_after: Period::NONE,
            unmet: BTreeMap::new(),
            retry_due: false,
            refused: BTreeMap::new(),
            names_due: false,
            node_ports: FxHashMap::default(),
            ids,
            remembered,
            stats: Stats::default(),
        }
    }

    /// The store.
    #[cfg(any(test, feature = "testing"))]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What has been done so far.
    pub fn stats(&self) -> Stats {
        let used = |family| {
            let blocks = &self.blocks[family];
            u64::from(blocks.capacity() - blocks.free() - self.limbo_backends[family])
        };
        Stats { backends: used(Family::V4) + used(Family::V6), ..self.stats }
    }

    /// The id of a Service port that has a frontend, or that had one in the generation before and
    /// may have found no room in this one.
    pub fn service_id(&self, name: &str, family: Family) -> Option<u32> {
        let port = self.ports.find(family, name);
        port.map(|port| port.id).or_else(|| self.ids.earlier_service(family, name))
    }

    /// The id that the next new backend gets. No backend had it before, nor a later one.
    pub fn next_backend_id(&self) -> u32 {
        self.ids.next.backend
    }

    /// Forgets the ids of the generation before, which take memory; those of Service ports not while
    /// a frontend waits for room, whose sockets are known by them. To be called when everything that
    /// was listed at the start is published.
    pub fn forget_earlier_ids(&mut self) {
        self.ids.forget_backends();
        if self.unmet.is_empty() && self.refused.is_empty() {
            self.ids.forget_services();
        }
    }

    /// Carries out changes, in their order, which is that of their keys: the mark of an address
    /// comes before the frontends that it stands in for. Each failure concerns its own frontend
    /// only; it is tried again when room is made, without being reported again.
    pub fn apply(
        &mut self,
        changes: impl IntoIterator<Item = FrontendChange>,
    ) -> Result<Vec<Failure>, GraceError> {
        self.reclaim_if_over()?;
        let mut failures = Vec::new();
        let mut others_wait = !self.unlisted.is_empty();
        for FrontendChange { key, state } in changes {
            self.unmet.remove(&key);
            self.refused.remove(&key);
            if others_wait && state.is_some() && self.needs_a_deletion(&key) {
                failures.extend(self.list_those_that_wait()?);
                others_wait = false;
            }
            match state {
                None => self.remove(key),
                Some(frontend) => {
                    failures.extend(self.set_or_keep(key, frontend, Patience::Wait)?);
                }
            }
        }
        failures.extend(self.list());
        self.start_grace_if_due()?;
        Ok(failures)
    }
}
