//! From events to tables, synchronously: what the owner runs, and what benches and tests drive.
//!
//! Must never wait for anything but a grace period that the publisher needs.

#[cfg(test)]
mod tests;

use std::{collections::HashSet, net::SocketAddr, time::Instant};

use super::held::Held;
use crate::{
    close::Gone,
    model::{Model, Notice},
    publish::{Failure, Family, Grace, GraceError, Publisher, Store},
    source::Event,
};

/// The model and the publisher that follows it.
pub struct Core<S, G> {
    model: Model,
    publisher: Publisher<S, G>,
    /// Everything that existed at the start is known to the model.
    synced: bool,
    /// Backends that no longer serve, for now or for good.
    held: Held,
}

/// What a publication could not do, or ignored.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frontends that changed or went away.
    pub changed: usize,
    /// Frontends that could not be brought to their wanted state.
    pub failures: Vec<Failure>,
    /// What the model ignored, and why.
    pub notices: Vec<Notice>,
}

impl<S: Store, G: Grace> Core<S, G> {
    /// A core without objects.
    pub fn new(model: Model, publisher: Publisher<S, G>) -> Self {
        Self { model, publisher, synced: false, held: Held::default() }
    }

    /// Takes in one event. Nothing is published before [`Self::publish`].
    pub fn apply(&mut self, event: Event) {
        self.synced |= matches!(event, Event::Synced);
        self.model.apply(event);
    }

    /// Publishes what the events since the last call have changed.
    pub fn publish(&mut self) -> Result<Outcome, GraceError> {
        let changes = self.model.take_changes();
        let changed = changes.frontends.len();
        // Before their Service port may vanish, and its id with it.
        let retired: Vec<_> = changes
            .retired
            .into_iter()
            .filter_map(|retired| {
                let key = self.with_id(&retired.name, retired.backend)?;
                Some((retired.name, key))
            })
            .collect();
        // One of them that comes back gets an id that is not given yet.
        let before = self.publisher.next_backend_id();
        let failures = self.publisher.apply(changes.frontends)?;
        if !retired.is_empty() {
            self.held.add(self.publisher.fence(), before, retired);
        }
        if self.synced {
            self.publisher.forget_earlier_ids();
        }
        Ok(Outcome { changed, failures, notices: changes.notices })
    }

    /// The backends that no longer serve, that no connect can choose any more and that are not back
    /// after a moment, each once. To be asked for when a grace period ends, and at
    /// [`Self::retired_due`].
    pub fn take_due_retired(&mut self, now: Instant) -> Vec<Gone> {
        let due = self.held.take_due(now, |period| self.publisher.is_past(period));
        let gone = due.into_iter().filter(|(name, gone)| {
            // Under another id it is not what its sockets remember.
            let known = (gone.service, gone.backend);
            self.with_id(name, gone.backend) != Some(known)
                || !self.model.serves(name, gone.backend)
        });
        gone.map(|(_, gone)| gone).collect()
    }

    /// When backends are due that no connect can choose any more.
    pub fn retired_due(&self) -> Option<Instant> {
        self.held.due()
    }

    /// Every backend that serves a followed Service port, with the port's id: what sockets that are
    /// older than the agent may be connected to. Those that left a moment ago may be back, and are
    /// told for themselves if not.
    pub fn serving_ids(&self) -> HashSet<(u32, SocketAddr)> {
        let serving = self.model.serving();
        serving
            .filter_map(|(name, backend)| self.with_id(&name, backend))
            .chain(self.held.keys())
            .collect()
    }

    /// The publisher.
    pub fn publisher(&mut self) -> &mut Publisher<S, G> {
        &mut self.publisher
    }

    fn with_id(&self, name: &str, backend: SocketAddr) -> Option<(u32, SocketAddr)> {
        let id = self.publisher.service_id(name, Family::of(&backend.ip()))?;
        Some((id, backend))
    }
}
