//! A thread that is waited for when whoever started it is dropped.
//!
//! It must never be dropped before what tells it to end. Fields are dropped in the order in which
//! they are declared, so that one stands before it.

use std::{
    io,
    thread::{self, JoinHandle},
};

/// A thread. Dropping it waits for its end.
#[derive(Debug)]
pub(crate) struct Joined(Option<JoinHandle<()>>);

impl Joined {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self(Some(thread)))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // An error means that the thread panicked, and said so.
            let _ = thread.join();
        }
    }
}
