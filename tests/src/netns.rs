//! Network namespaces without a name: they live as long as a descriptor or a thread does, so
//! there is nothing to clean up.
//!
//! This module must never mount one under /run/netns, where it would outlive the process.

use std::{
    fs::File,
    io, panic,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};

const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, for as long as this value, a thread or a socket in it exists.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes a namespace with nothing but a loopback interface, which is down.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn new() -> Result<Self> {
        thread::scope(|scope| {
            join(scope.spawn(|| {
                unshare_network()?;
                Self::current()
            }))
        })
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn current() -> Result<Self> {
        let file = File::open(OWN).with_context(|| format!("cannot open {OWN}"))?;
        Ok(Self { file })
    }

    /// Runs `job` on a thread inside, and returns what it returns. Sockets that it makes stay in
    /// the namespace, wherever they are used later.
    ///
    /// # Panics
    /// When `job` does, or without CAP_SYS_ADMIN.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            join(scope.spawn(|| {
                self.enter().expect("whoever can make a namespace can enter it");
                job()
            }))
        })
    }

    /// Runs `job` on a thread inside for as long as it takes.
    ///
    /// # Errors
    /// When no thread can be started, or the descriptor cannot be copied.
    pub fn spawn<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let namespace = Self { file: self.file.try_clone()? };
        thread::Builder::new().spawn(move || {
            namespace.enter().expect("whoever can make a namespace can enter it");
            drop(namespace);
            job()
        })
    }

    /// The descriptor, for netlink messages that name a namespace.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn enter(&self) -> nix::Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
    }
}

/// Moves the calling thread, and every thread that it starts from now on, into a new namespace.
pub(crate) fn unshare_network() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace; run as root")
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
