//! Network namespaces without a name: they live as long as a descriptor or a thread does, so
//! there is nothing to clean up.
//!
//! This module must never mount one under /run/netns, where it would outlive the process.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    panic,
    path::{Path, PathBuf},
    process,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};

use crate::ipv6;

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

    /// Where another process finds it, as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd()).into()
    }

    /// The descriptor, for netlink messages that name a namespace.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn enter(&self) -> nix::Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
    }
}

/// Moves the calling thread into the namespace that the file at `path` stands for.
///
/// # Errors
/// When it stands for none, or without CAP_SYS_ADMIN.
pub fn enter(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter the network namespace {}", path.display()))
}

/// Moves the calling thread, and every thread that it starts from now on, into a new namespace.
pub(crate) fn unshare_network() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace; run as root")?;
    // Pods reach each other through the client's namespace, as they do through a node.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot set net.ipv4.ip_forward")?;
    ipv6::prepare()
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
