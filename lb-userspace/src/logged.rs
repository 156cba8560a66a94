//! What a thread logs, for tests that look at it.
//!
//! No other thread may be heard: tests run beside each other.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Dispatch, Level,
    subscriber::{DefaultGuard, NoSubscriber},
};

/// The log of the thread that made it, from then on.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
    /// With a single subscriber, a line of code that another test's thread comes to first would ask
    /// that thread's, which has none, and never say anything to anyone.
    _second: Dispatch,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens until it is dropped.
    pub(crate) fn new() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        let _second = Dispatch::new(NoSubscriber::new());
        Self { lines, _guard: tracing::subscriber::set_default(subscriber), _second }
    }

    /// What was logged since the last call.
    pub(crate) fn take(&self) -> String {
        let mut bytes = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(std::mem::take(&mut bytes)).expect("text")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
