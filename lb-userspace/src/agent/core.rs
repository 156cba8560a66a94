//! From events to tables, synchronously: what the owner runs, and what benches and tests drive.
//!
//! Must never wait for anything but a grace period that the publisher needs.

use crate::{
    model::{Model, Notice},
    publish::{Failure, Grace, GraceError, Publisher, Store},
    source::Event,
};

/// The model and the publisher that follows it.
pub struct Core<S, G> {
    model: Model,
    publisher: Publisher<S, G>,
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
        Self { model, publisher }
    }

    /// Takes in one event. Nothing is published before [`Self::publish`].
    pub fn apply(&mut self, event: Event) {
        self.model.apply(event);
    }

    /// Publishes what the events since the last call have changed.
    pub fn publish(&mut self) -> Result<Outcome, GraceError> {
        let changes = self.model.take_changes();
        let changed = changes.frontends.len();
        let failures = self.publisher.apply(changes.frontends)?;
        Ok(Outcome { changed, failures, notices: changes.notices })
    }

    /// The publisher.
    pub fn publisher(&mut self) -> &mut Publisher<S, G> {
        &mut self.publisher
    }
}
