//! The demo's clients: one connects to the Service with backends without a pause, one asks the
//! Service without backends now and then.
//!
//! Counting happens after a connection is timed, and must never slow down what is timed.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use lab::{
    client::{self, connect, is_refusal},
    latency::Latency,
};

use super::objects::{EMPTY, Service, WEB};

/// Between two attempts at the Service without backends.
const SELDOM: Duration = Duration::from_millis(100);
/// After a connection that failed or was refused, where there would be no pause: it fails much
/// faster than it succeeds, and would fill the CPU.
const RECOVERY: Duration = Duration::from_millis(10);

/// What became of the connections to one Service.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) service: Service,
    /// Established connections and what `connect()` took, by the backend's identity.
    pub(crate) backends: BTreeMap<u16, Latency>,
    /// Connects that were refused, as is right for a Service without backends.
    pub(crate) refused: u64,
    /// Connections that ended in any other error.
    pub(crate) failures: u64,
    /// The latest of those errors.
    pub(crate) failure: Option<String>,
}

impl Totals {
    fn new(service: Service) -> Self {
        Self { service, backends: BTreeMap::new(), refused: 0, failures: 0, failure: None }
    }

    /// Counts one attempt; whether it established a connection.
    fn count(&mut self, attempt: io::Result<(u16, Duration)>) -> bool {
        match attempt {
            Ok((backend, took)) => {
                self.backends.entry(backend).or_default().record(took);
                return true;
            }
            Err(error) if is_refusal(&error) => self.refused += 1,
            Err(error) => {
                self.failures += 1;
                self.failure = Some(error.to_string());
            }
        }
        false
    }
}

type Shared = Arc<Mutex<Totals>>;

/// The running clients.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<(Shared, JoinHandle<()>)>,
}

impl Traffic {
    /// Starts the clients in the calling thread's network namespace.
    pub(crate) fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = [(WEB, Duration::ZERO), (EMPTY, SELDOM)]
            .into_iter()
            .map(|(service, pause)| start(service, pause, Arc::clone(&stop)))
            .collect::<Result<_>>()?;
        Ok(Self { stop, clients })
    }

    /// The totals so far, in the order of the manifests.
    pub(crate) fn totals(&self) -> Vec<Totals> {
        self.clients.iter().map(|(totals, _)| lock(totals).clone()).collect()
    }

    /// Waits for the connections under way, and returns the final totals.
    pub(crate) fn stop(self) -> Vec<Totals> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients
            .into_iter()
            .map(|(totals, client)| {
                client.join().expect("a client does not panic");
                lock(&totals).clone()
            })
            .collect()
    }
}

fn start(
    service: Service,
    pause: Duration,
    stop: Arc<AtomicBool>,
) -> Result<(Shared, JoinHandle<()>)> {
    let totals = Arc::new(Mutex::new(Totals::new(service)));
    let shared = Arc::clone(&totals);
    let client = thread::Builder::new()
        .name(service.name.into())
        .spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let attempt = attempt(service);
                let established = lock(&shared).count(attempt);
                thread::sleep(if established { pause } else { pause.max(RECOVERY) });
            }
        })
        .context("cannot start a client's thread")?;
    Ok((totals, client))
}

fn attempt(service: Service) -> io::Result<(u16, Duration)> {
    let connection = connect(service.frontend, client::TIMEOUT)?;
    let took = connection.took;
    Ok((connection.identity()?, took))
}

fn lock(totals: &Mutex<Totals>) -> std::sync::MutexGuard<'_, Totals> {
    totals.lock().unwrap_or_else(PoisonError::into_inner)
}
