//! The Kubernetes API as a source.
//!
//! ```text
//!  Services ─────── Lean ──┐ follow ── reflect ──┐
//!  EndpointSlices ─ Lean ──┤ follow ── reflect ──┤
//!  Node, Pods, … ── Lean ──┘ follow ── reflect ──┴─ Sink ──> events, Synced when all are listed
//!       └── one client, renewed after failures
//! ```
//!
//! Lists are streamed where the server can, and paged where not. Selectors keep away what nobody
//! here asks for, but never a Service that has a ClusterIP: point 18 of the semantics needs them
//! all. A watch that breaks goes on where it was; if the server has forgotten that place it lists
//! anew, and what vanished meanwhile is told then. [`Event::Synced`] is sent when every kind has been
//! listed once.
//!
//! This needs Kubernetes 1.33 or later. One thread does all of it; what is slow is done elsewhere, by
//! whoever gets the events.

mod access;
mod client;
mod connect;
mod fault;
mod follow;
mod lean;
mod own_node;
mod reflect;
mod watches;

use std::{collections::BTreeSet, io};

use thiserror::Error;
use tokio::{runtime, sync::oneshot};

pub use self::access::{Access, AccessError, address};
use super::{Arrival, Event};
use crate::joined::Joined;

/// What is watched, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The way to the API server.
    pub access: Access,
    /// The name of this node's Node, which is watched, and its Pods with it. Without one nothing
    /// that depends on the node is.
    pub node: Option<String>,
    /// Where endpoints are read from.
    pub endpoints: Endpoints,
    /// Whether the cluster's Service networks are asked for.
    pub service_networks: bool,
}

/// The API that tells endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// `discovery.k8s.io/v1` EndpointSlices.
    Slices,
    /// `v1` Endpoints, for clusters and tools that write nothing else.
    Endpoints,
}

/// What a source tells beside events.
pub trait Observer {
    /// A kind of object has been listed as a whole.
    fn listed(&mut self, resource: &'static str);
    /// Something went wrong with the watch of a kind. It is tried again.
    fn failed(&mut self, resource: &'static str);
}

/// Why no watch could be started.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The API server cannot be asked.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no thread to be had.
    #[error("cannot start the thread that watches the API server")]
    Thread(#[source] io::Error),
}

/// Watches until it is dropped, which waits for the thread's end.
#[derive(Debug)]
pub struct Watcher {
    /// Dropped first, which ends the thread.
    _stop: oneshot::Sender<()>,
    _thread: Joined,
}

/// Starts to watch. `out` gets all events, on a thread of its own; it may block, and nothing is read
/// meanwhile. An API server that cannot be reached is no error: it is tried again.
///
/// # Errors
/// When the files that say where the server is are missing or broken.
pub fn watch(
    settings: Settings,
    out: impl FnMut(Event, Option<Arrival>) + Send + 'static,
    observer: impl Observer + Send + 'static,
) -> Result<Watcher, WatchError> {
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::Thread)?;
    runtime.block_on(settings.access.config())?;
    let (stop, stopped) = oneshot::channel();
    let run = move || {
        let (mut out, mut observer) = (out, observer);
        runtime.block_on(async {
            // Made inside of the runtime, which it starts a task in.
            let client = client::client(settings.access.clone());
            let sink = Sink::new(&mut out, &mut observer);
            tokio::select! {
                () = watches::follow_all(&settings, &client, sink) => {}
                // The other half is dropped, never used.
                _ = stopped => {}
            }
        });
        // A name that is being resolved is not waited for.
        runtime.shutdown_background();
    };
    let thread = Joined::spawn("kubernetes", run).map_err(WatchError::Thread)?;
    Ok(Watcher { _stop: stop, _thread: thread })
}

/// Where all watches send what they tell.
struct Sink<'a> {
    out: &'a mut dyn FnMut(Event, Option<Arrival>),
    observer: &'a mut dyn Observer,
    /// The resources that have not been listed yet.
    missing: BTreeSet<&'static str>,
    synced: bool,
}

impl<'a> Sink<'a> {
    fn new(out: &'a mut dyn FnMut(Event, Option<Arrival>), observer: &'a mut dyn Observer) -> Self {
        Self { out, observer, missing: BTreeSet::new(), synced: false }
    }

    fn send(&mut self, event: Event, arrival: Option<Arrival>) {
        (self.out)(event, arrival);
    }

    fn failed(&mut self, resource: &'static str) {
        self.observer.failed(resource);
    }

    fn listed(&mut self, resource: &'static str) {
        self.observer.listed(resource);
        self.missing.remove(resource);
        if self.missing.is_empty() && !self.synced {
            self.synced = true;
            self.send(Event::Synced, None);
        }
    }
}
