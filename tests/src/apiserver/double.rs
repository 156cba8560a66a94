//! The double: an API server in the test's own process, and everything that a test can do with it
//! without asking it by HTTP. What it can be told to do wrong is in [`misdeeds`](super::misdeeds).
//!
//! What is changed here has been handed to all watches when the call returns.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
};

use anyhow::{Context, Result, anyhow};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    access::Access,
    kind::Kind,
    listen::{self, Command},
    object::Object,
    options::Options,
    resource::{Resource, Verb},
    seed,
    shared::{Asked, Shared},
    status::Refusal,
    store::Store,
    tls::Identity,
    write::{self, Part},
};

/// A running double. Dropping it ends it.
pub struct Double {
    pub(super) shared: Arc<Shared>,
    address: SocketAddr,
    pub(super) commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Double {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Double").field("address", &self.address).finish_non_exhaustive()
    }
}

fn told(refusal: Refusal) -> anyhow::Error {
    let code = refusal.code.unwrap_or_default();
    anyhow!(
        "{code} {}: {}",
        refusal.reason.unwrap_or_default(),
        refusal.message.unwrap_or_default()
    )
}

fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

impl Double {
    /// Starts a double on a port of 127.0.0.1 in the calling thread's network namespace. It has what
    /// a new cluster has: four namespaces, the ServiceCIDR, and the Service `kubernetes`, without
    /// endpoints.
    ///
    /// # Errors
    /// When it cannot listen, or make a certificate.
    pub fn start(options: Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
        let address = listener.local_addr()?;
        let store = seeded(&options)?;
        let identity = options.tls.then(Identity::new).transpose()?;
        let shared = Shared::new(options, store, new_token(), identity);
        let (commands, received) = unbounded_channel();
        let thread = listen::start(Arc::clone(&shared), listener, received)?;
        Ok(Self { shared, address, commands: Some(commands), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How clients reach it now; credentials change when they are rotated.
    pub fn access(&self) -> Access {
        let ca = self.shared.identity().as_ref().map(|identity| identity.ca.clone());
        let scheme = if ca.is_some() { "https" } else { "http" };
        let token = self.shared.token().clone();
        Access { url: format!("{scheme}://{}", self.address), ca, token }
    }

    // Objects.

    /// The latest resource version.
    pub fn version(&self) -> u64 {
        self.shared.store().version
    }

    /// Stores the object, its status with it, in the place of what has its name. What is left out is
    /// filled in as ever. It is a change even if nothing differs. Returns its resource version.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn apply<K: Kind>(&self, object: K) -> Result<u64> {
        let mut store = self.shared.store();
        let meta = object.meta();
        let mut key = key(
            meta.namespace.as_deref().unwrap_or("default"),
            meta.name.as_deref().unwrap_or_default(),
        );
        if !K::RESOURCE.is_namespaced() {
            key.0.clear();
        }
        let stored = if store.table(K::RESOURCE).objects.contains_key(&key) {
            write::replace(&mut store, &key, object, Part::Whole)
        } else {
            write::create(&mut store, None, object, Part::Whole)
        };
        Ok(stored.map_err(told)?.version)
    }

    /// Stores many objects.
    ///
    /// # Errors
    /// When one is refused; those before it are stored.
    pub fn load<K: Kind>(&self, objects: impl IntoIterator<Item = K>) -> Result<()> {
        objects.into_iter().try_for_each(|object| self.apply(object).map(drop))
    }

    /// What is stored under the name. The namespace is empty for what has none.
    pub fn get<K: Kind>(&self, namespace: &str, name: &str) -> Option<K> {
        let found = self.shared.store().find(K::RESOURCE, &key(namespace, name)).ok().cloned();
        found.map(|object| Object::read(&object))
    }

    /// Removes an object at once, whatever holds it. Returns the version of that.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove<K: Kind>(&self, namespace: &str, name: &str) -> Result<u64> {
        let mut store = self.shared.store();
        let key = key(namespace, name);
        let object: K = store.find(K::RESOURCE, &key).map_err(told)?.read();
        Ok(write::remove(&mut store, &key, object).map_err(told)?.version)
    }

    /// Forgets what was before now: older watches cannot be resumed, older pages not continued. Open
    /// watches go on.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Becomes another cluster: forgets everything, and counts versions from `version` on. Open
    /// watches end.
    ///
    /// # Errors
    /// When the ranges for ClusterIPs have no room for the Service `kubernetes`.
    pub fn reset(&self, version: u64) -> Result<()> {
        let options = Options { first_version: version, ..self.shared.options.clone() };
        let store = seeded(&options)?;
        *self.shared.store() = store;
        Ok(())
    }

    // What was asked.

    /// All requests so far, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked().clone()
    }

    /// How often this was asked.
    pub fn count(&self, verb: Verb, resource: Resource) -> usize {
        let fits = |asked: &&Asked| asked.verb == verb && asked.resource == resource;
        self.shared.asked().iter().filter(fits).count()
    }

    /// Forgets what was asked.
    pub fn forget_asked(&self) {
        self.shared.asked().clear();
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.connections().0
    }

    /// How many connections are open.
    pub fn connected(&self) -> usize {
        self.shared.connections().1
    }

    /// How many watches of the resource are open.
    pub fn watches(&self, resource: Resource) -> usize {
        let store = self.shared.store();
        let watchers = &store.table(resource).watchers;
        watchers.iter().filter(|watcher| !watcher.items.is_closed()).count()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn seeded(options: &Options) -> Result<Store> {
    let mut store = Store::new(options);
    seed::fill(&mut store, options).map_err(told)?;
    Ok(store)
}

/// A token that nobody guesses.
pub(super) fn new_token() -> String {
    (0..32).map(|_| fastrand::alphanumeric()).collect()
}
