//! The network namespaces of the node: which there are, and running something inside of one.
//!
//! ```text
//!  /proc/*/ns/net          ┐
//!  nsfs mounts             ├──> one Namespace for each inode ──> run(|| …) on a thread of its own
//!  threads, descriptors (*)┘    (*) Search::Everywhere
//! ```
//!
//! To see other processes' namespaces the agent must share the host's PID namespace (`hostPID: true`)
//! and have CAP_SYS_PTRACE; to enter one it needs CAP_SYS_ADMIN.
//!
//! Nothing here keeps a list: namespaces come and go with every Pod. A thread that has entered a
//! namespace must never return to a pool, so each of them ends here.

mod find;
mod mounts;

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsFd as _,
        unix::{fs::MetadataExt as _, net::UnixDatagram},
    },
    panic,
    path::{Path, PathBuf},
    thread::{self, ScopedJoinHandle},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

use crate::dataplane;

/// The calling thread's namespace.
const CURRENT: &str = "/proc/thread-self/ns/net";
/// Inode number of the first PID namespace (include/linux/proc_ns.h).
const PROC_PID_INIT_INO: u64 = 0xefff_fffc;

/// A network namespace could not be found or entered.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// The list of processes or of mounts could not be read.
    #[error("cannot read {path}: is /proc mounted?")]
    Unlisted {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A namespace was seen, but could not be opened.
    #[error(
        "cannot open the network namespace {path}: are there enough descriptors (`ulimit -n`)?"
    )]
    Unopened {
        /// The link or mount point that leads to it.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread could not enter.
    #[error("cannot enter the network namespace net:[{inode}]: CAP_SYS_ADMIN is needed")]
    Unentered {
        /// Its inode number.
        inode: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The cookie could not be read.
    #[error("cannot read a network namespace's cookie (SO_NETNS_COOKIE)")]
    Cookie(#[source] io::Error),
    /// There is no thread for the job.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Where to look for namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Those of processes, and those that are mounted as a file (`/run/netns/…`, as `ip netns` and
    /// container runtimes do). One link is read for each process.
    Usual,
    /// Also those of single threads, and those that only a descriptor keeps alive. Some links are
    /// read for each thread, and one for each descriptor on the node, so this takes much longer.
    Everywhere,
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// Each namespace once, in no particular order. The calling thread's is always among them.
    pub namespaces: Vec<Namespace>,
    /// Processes whose namespace may not be seen: CAP_SYS_PTRACE is missing.
    pub denied: usize,
}

/// A network namespace. It lives as long as this value, even after its last process.
#[derive(Debug)]
pub struct Namespace {
    /// The number in `net:[…]`, as /proc and `lsns` show it. It may be reused after the
    /// namespace's end, which this value delays.
    pub inode: u64,
    /// What BPF programs know it by, and never reused. `None` before Linux 5.14, where it cannot
    /// be asked for.
    pub cookie: Option<u64>,
    file: File,
}

impl Namespace {
    /// Runs `job` on a thread of its own inside of the namespace, waits, and returns what it
    /// returned. Sockets that it makes stay in the namespace, wherever they are used later.
    ///
    /// # Errors
    ///
    /// Without CAP_SYS_ADMIN, or when no thread can be started.
    ///
    /// # Panics
    ///
    /// When `job` does.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        on_a_thread(|| {
            enter(&self.file, self.inode)?;
            Ok(job())
        })?
    }
}

/// The network namespaces of the node. What vanishes during the search is no error.
///
/// # Errors
///
/// When /proc cannot be read, or a namespace cannot be opened for want of descriptors or memory, or
/// entered.
pub fn namespaces(search: Search) -> Result<Found, NamespaceError> {
    let found = find::find(search)?;
    // One thread visits all of them, and ends.
    let namespaces = on_a_thread(move || {
        let namespaces = found.files.into_iter().map(|(inode, file)| {
            enter(&file, inode)?;
            // A descriptor that came from a mount would keep it from being unmounted.
            let path = Path::new(CURRENT);
            let file = File::open(path)
                .map_err(|source| NamespaceError::Unopened { path: path.into(), source })?;
            Ok(Namespace { inode, cookie: current_cookie()?, file })
        });
        namespaces.collect::<Result<_, NamespaceError>>()
    })??;
    Ok(Found { namespaces, denied: found.denied })
}

/// Whether the processes of the whole node can be seen: the agent shares the host's PID namespace, or
/// that of a node which is itself a container, as `kind` makes them.
pub(crate) fn sees_the_node() -> bool {
    let is_first = fs::metadata("/proc/self/ns/pid").is_ok_and(|it| it.ino() == PROC_PID_INIT_INO);
    // In a container's own namespace the first process is the container's. In one that a Pod's
    // containers share it is the Pod's, which does not show here.
    let cgroup = |process: &str| fs::read(format!("/proc/{process}/cgroup")).ok();
    is_first || cgroup("1") != cgroup("self")
}

/// The cookie of the calling thread's network namespace. `None` before Linux 5.14.
///
/// # Errors
///
/// When no socket can be made.
pub fn current_cookie() -> Result<Option<u64>, NamespaceError> {
    let socket = UnixDatagram::unbound().map_err(NamespaceError::Cookie)?;
    dataplane::netns_cookie(socket.as_fd()).map_err(NamespaceError::Cookie)
}

fn enter(file: &File, inode: u64) -> Result<(), NamespaceError> {
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| NamespaceError::Unentered { inode, source: error.into() })
}

/// Runs `job` on a thread that ends with it.
fn on_a_thread<T: Send>(job: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("netns".into());
        let thread = builder.spawn_scoped(scope, job).map_err(NamespaceError::Thread)?;
        Ok(join(thread))
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
