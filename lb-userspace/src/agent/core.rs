//! From events to tables, synchronously: what the owner runs, and what benches and tests drive.
//!
//! Must never wait for anything but a grace period that the publisher needs.

use std::net::IpAddr;

use lb_common::FrontendKey4;

use crate::{
    model::{self, Backends, Model, Notice, Protocol, Target},
    publish::{Failure, Frontend, FrontendChange, Grace, GraceError, Publisher, Store},
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
        let failures = self.publisher.apply(changes.frontends.into_iter().filter_map(published))?;
        Ok(Outcome { changed, failures, notices: changes.notices })
    }

    /// The publisher.
    pub fn publisher(&mut self) -> &mut Publisher<S, G> {
        &mut self.publisher
    }
}

/// The change as the publisher takes it, if it concerns the tables that there are: IPv4 and TCP.
fn published(change: model::FrontendChange) -> Option<FrontendChange> {
    let (IpAddr::V4(address), Protocol::Tcp) = (change.key.address, change.key.protocol) else {
        return None;
    };
    let state = change.state.filter(|frontend| !frontend.host_only).and_then(|frontend| {
        let Target::Balance(backends) = frontend.target else { return None };
        let Backends::V4(backends) = &*backends else { return None };
        Some(Frontend { name: frontend.name, backends: backends.to_vec() })
    });
    let key = FrontendKey4::new(address.octets(), change.key.port, Protocol::Tcp as u8);
    Some(FrontendChange { key, state })
}
