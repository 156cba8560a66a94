//! RCU as loom sees it: no stronger than the kernel's.
//!
//! A grace period waits for the readers that were inside a section when it started, and for no
//! other. Two fences give the other half of RCU's promise: a reader that a grace period does not
//! wait for sees everything stored before it started. What the kernel does beyond that is left
//! out: its grace periods may start later and take longer, and so wait for more readers.

use std::sync::Arc;

use lb_userspace::publish::{Grace, GraceError};
use loom::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::tables::LoomTables;

/// The sections of one reader: how often it has entered or left one, so odd while it is inside.
pub(crate) struct Sections(AtomicUsize);

impl Sections {
    /// A reader that is outside.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Runs `read` as a BPF program runs.
    pub(crate) fn enter<R>(&self, read: impl FnOnce() -> R) -> R {
        let outside = self.0.load(Ordering::Relaxed);
        self.0.store(outside + 1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let result = read();
        self.0.store(outside + 2, Ordering::Release);
        result
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Grace periods of the model's readers, or, without that defence, of nobody.
pub(crate) struct LoomGrace {
    tables: Arc<LoomTables>,
    /// The readers that the period under way waits for, each with its count at the start.
    inside: Vec<(usize, usize)>,
}

impl LoomGrace {
    /// Waits for the readers of these tables.
    pub(crate) fn new(tables: Arc<LoomTables>) -> Self {
        Self { tables, inside: Vec::new() }
    }

    fn over(&mut self) -> bool {
        let readers = &self.tables.readers;
        self.inside.retain(|(reader, count)| readers[*reader].count() == *count);
        self.inside.is_empty()
    }
}

impl Grace for LoomGrace {
    fn start(&mut self) -> Result<(), GraceError> {
        if self.tables.defences.grace {
            fence(Ordering::SeqCst);
            let counts = self.tables.readers.iter().map(Sections::count).enumerate();
            self.inside = counts.filter(|(_, count)| count % 2 == 1).collect();
        }
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, GraceError> {
        Ok(self.over())
    }

    fn wait(&mut self) -> Result<(), GraceError> {
        while !self.over() {
            loom::thread::yield_now();
        }
        Ok(())
    }
}
