//! Clients that connect to a Service all the while, as long as something else goes on.
//!
//! A run without a connect must never pass for one without a failure.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Result, anyhow, ensure};

use crate::client::{Connection, TIMEOUT, connect};

/// Connects, one connect after the other, until it is asked how that went.
#[derive(Debug)]
pub struct Clients {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<String>)>,
}

impl Clients {
    /// In the calling thread's network namespace, to a Service that answers all the while.
    pub fn of(vip: impl Into<SocketAddr>) -> Self {
        let (vip, stop) = (vip.into(), Arc::<AtomicBool>::default());
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut count, mut failures) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                count += 1;
                if let Err(error) = connect(vip, TIMEOUT).and_then(Connection::identity) {
                    failures.push(error.to_string());
                }
            }
            (count, failures)
        });
        Self { stop, thread }
    }

    /// Ends them. Returns how many connects there were.
    ///
    /// # Errors
    /// When one of them failed, or there was none.
    pub fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let (count, failures) = self.thread.join().map_err(|_| anyhow!("a client panicked"))?;
        ensure!(count > 0, "there was no connect");
        ensure!(failures.is_empty(), "of {count} connects failed {}: {failures:?}", failures.len());
        Ok(count)
    }
}
