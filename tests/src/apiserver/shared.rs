//! What the threads of a double share: its objects, faults, credentials, connections, and what it was
//! asked.
//!
//! A thread that panics must never keep the others out: its test fails anyway, when it ends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    faults::Faults,
    options::Options,
    parameters::Parameters,
    resource::{Resource, Verb},
    store::Store,
    tls::Identity,
    wire::Control,
};

/// A request that came, whatever became of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it came.
    pub at: Instant,
    /// What it wanted.
    pub verb: Verb,
    /// Of what.
    pub resource: Resource,
    /// In which namespace, if in one.
    pub namespace: Option<String>,
    /// The object, if it was one.
    pub name: Option<String>,
    /// Of the query.
    pub parameters: Parameters,
}

pub(super) struct Shared {
    pub(super) options: Options,
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    asked: Mutex<Vec<Asked>>,
    token: Mutex<String>,
    identity: Mutex<Option<Identity>>,
    connections: Mutex<HashMap<u64, Arc<Control>>>,
    accepted: AtomicU64,
    /// New connections are silent from their start.
    pub(super) silent: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic fails the test; until it ends, others may still look.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        options: Options,
        store: Store,
        token: String,
        identity: Option<Identity>,
    ) -> Arc<Self> {
        Arc::new(Self {
            options,
            store: Mutex::new(store),
            faults: Mutex::default(),
            asked: Mutex::default(),
            token: Mutex::new(token),
            identity: Mutex::new(identity),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            silent: AtomicBool::new(false),
        })
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        lock(&self.asked)
    }

    pub(super) fn token(&self) -> MutexGuard<'_, String> {
        lock(&self.token)
    }

    /// `None` for plain HTTP.
    pub(super) fn identity(&self) -> MutexGuard<'_, Option<Identity>> {
        lock(&self.identity)
    }

    /// Registers a connection until what is returned is dropped.
    pub(super) fn connect(self: &Arc<Self>, control: &Arc<Control>) -> Connected {
        let id = self.accepted.fetch_add(1, Ordering::Relaxed);
        let mut connections = lock(&self.connections);
        // Whoever sees the connection may then end the silence for others.
        if self.silent.load(Ordering::SeqCst) {
            control.silence();
        }
        connections.insert(id, Arc::clone(control));
        drop(connections);
        Connected { shared: Arc::clone(self), id }
    }

    /// Calls `deed` with every open connection.
    pub(super) fn each_connection(&self, deed: impl Fn(&Control)) {
        lock(&self.connections).values().for_each(|control| deed(control));
    }

    /// Connections so far, and those that are open.
    pub(super) fn connections(&self) -> (u64, usize) {
        (self.accepted.load(Ordering::Relaxed), lock(&self.connections).len())
    }
}

/// An open connection's place in the list.
pub(super) struct Connected {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Connected {
    fn drop(&mut self) {
        lock(&self.shared.connections).remove(&self.id);
    }
}
