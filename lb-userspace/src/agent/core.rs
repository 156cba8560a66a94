//! From events to tables, synchronously: what the owner runs, and what benches and tests drive.
//!
//! Must never wait for anything but a grace period that the publisher needs.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
};

use crate::{
    close::Gone,
    model::{Model, Notice},
    plan::limbo::Period,
    publish::{Failure, Family, Grace, GraceError, Publisher, Store},
    source::Event,
};

/// The model and the publisher that follows it.
pub struct Core<S, G> {
    model: Model,
    publisher: Publisher<S, G>,
    /// Everything that existed at the start is known to the model.
    synced: bool,
    /// Backends that no longer serve, with the grace period after which no connect can choose them
    /// any more.
    retired: VecDeque<(Period, Vec<Gone>)>,
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
        Self { model, publisher, synced: false, retired: VecDeque::new() }
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
            .iter()
            .filter_map(|retired| self.with_id(&retired.name, retired.backend))
            .collect();
        // One of them that comes back gets an id that is not given yet.
        let before = self.publisher.next_backend_id();
        let failures = self.publisher.apply(changes.frontends)?;
        if !retired.is_empty() {
            let gone =
                retired.into_iter().map(|(service, backend)| Gone { service, backend, before });
            self.retired.push_back((self.publisher.fence(), gone.collect()));
        }
        if self.synced {
            self.publisher.forget_earlier_ids();
        }
        Ok(Outcome { changed, failures, notices: changes.notices })
    }

    /// The backends that no longer serve and that no connect can choose any more, each once. To be
    /// asked for when a grace period ends.
    pub fn take_due_retired(&mut self) -> Vec<Gone> {
        let mut due = Vec::new();
        while let Some((_, retired)) =
            self.retired.pop_front_if(|(period, _)| self.publisher.is_past(*period))
        {
            due.extend(retired);
        }
        due
    }

    /// Every backend that serves a followed Service port, with the port's id: what sockets that are
    /// older than the agent may be connected to.
    pub fn serving_ids(&self) -> HashSet<(u32, SocketAddr)> {
        self.model.serving().filter_map(|(name, backend)| self.with_id(&name, backend)).collect()
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
