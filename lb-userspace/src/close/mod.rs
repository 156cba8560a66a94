//! Closes sockets that are connected to a backend that no longer serves.
//!
//! A connected UDP socket never learns that its peer has gone: a resolver that was connected to a
//! Pod of CoreDNS would wait for answers forever. The kernel closes such a socket under its
//! application (SOCK_DESTROY), which sees ECONNABORTED and connects anew. TCP sockets are closed
//! likewise, if asked for.
//!
//! ```text
//!  requests ──> Wanted ──> which origins? ──> in which namespaces? ──> list, compare, destroy
//!               folded     one iterator pass   netns::namespaces       once for each namespace,
//!                                                                      family and protocol
//! ```
//!
//! Two conditions hold for each socket that is closed: its origin says that socklb sent it to this
//! backend of this service, and the kernel lists it, by its cookie, with this backend as its peer.
//! So sockets that were connected to a Pod's own address are left alone, and so are those that
//! were connected elsewhere since.
//!
//! A `connect()` sets the peer a moment after the program wrote the origin, and a list may pass over
//! a socket while others come and go. A socket whose origin matches and whose peer does not is
//! therefore looked at again, [`LOOKS`] times in all. What could not be read, for want of memory or of
//! descriptors, is read again until it can be, however long that takes.
//!
//! Before Linux 5.14 the namespaces have no cookies to be told by, so all of them are listed.

mod diag;
#[cfg(test)]
mod fake;
mod node;
mod pass;
mod probe;
mod request;
mod said;
mod stale;
mod sweep;

use std::{
    io, iter,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use lb_common::layout::Origin;
use thiserror::Error;
use tracing::{debug, info, warn};

pub(crate) use self::probe::probe;
pub use self::request::{Gone, Request};
use self::{node::Kernel, pass::Passes, request::Wanted, said::Said};
use crate::{chain::chain, joined::Joined, netns::NamespaceError};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// How long after a look a socket that was not found is looked at again.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// How often a socket is not found before it is left alone.
pub const LOOKS: usize = DELAYS.len() + 1;

/// Stale sockets could not be closed.
#[derive(Debug, Error)]
pub enum CloseError {
    /// The origins could not be read.
    #[error("cannot read the sockets' origins (lb_origins)")]
    Origins(#[source] io::Error),
    /// The namespaces could not be found, or one not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// There is no netlink socket.
    #[error("cannot make a netlink socket (NETLINK_SOCK_DIAG)")]
    Netlink(#[source] io::Error),
    /// The kernel has no list of such sockets.
    #[error(
        "this kernel cannot list {protocol} sockets: it lacks CONFIG_INET_{protocol}_DIAG, or \
         cannot load the module (`modprobe {}_diag`)", protocol.to_lowercase()
    )]
    NoList {
        /// "UDP" or "TCP".
        protocol: &'static str,
    },
    /// The list broke off.
    #[error("cannot list the {protocol} sockets of the network namespace net:[{inode}]")]
    List {
        /// "UDP" or "TCP".
        protocol: &'static str,
        /// The namespace.
        inode: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not close sockets.
    #[error(
        "this kernel cannot close sockets: it was built without CONFIG_INET_DIAG_DESTROY. Sockets \
         that are connected to backends that went stay as they are"
    )]
    NoDestroy,
    /// One socket could not be closed.
    #[error(
        "cannot close a socket in the network namespace net:[{inode}]: CAP_NET_ADMIN is needed"
    )]
    Destroy {
        /// The namespace.
        inode: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What one pass over the sockets did.
#[derive(Debug, Default)]
pub struct Report {
    /// Origins read: all sockets that socklb has translated.
    pub origins: usize,
    /// Sockets whose origin names a backend that does not serve.
    pub stale: usize,
    /// UDP sockets closed.
    pub udp: usize,
    /// TCP sockets closed.
    pub tcp: usize,
    /// Service ports and backends, each pair once, whose sockets were closed.
    pub backends: usize,
    /// Sockets that will be looked at again: closed meanwhile, not connected yet, connected
    /// elsewhere, or in a namespace that could not be read.
    pub again: usize,
    /// Sockets that were looked at for the last time, or can never be closed here.
    pub missed: usize,
    /// What failed. Everything else was done nevertheless.
    pub errors: Vec<CloseError>,
}

/// Closes stale sockets on a thread of its own. Dropping it waits for the passes that were asked for,
/// not for further looks.
pub struct Closer {
    /// Dropped first, which ends the thread.
    requests: Sender<Request>,
    _thread: Joined,
}

impl Closer {
    /// Starts the thread. `origins` reads the origins of all sockets of the node, and `told` is
    /// called after each pass; both on that thread.
    ///
    /// Needs CAP_NET_ADMIN, and what [`crate::netns`] needs.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start(
        origins: impl Fn() -> io::Result<Vec<Origin>> + Send + 'static,
        told: impl FnMut(&Report) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, requested) = mpsc::channel();
        let thread = Joined::spawn("close", move || serve(&requested, &origins, told))?;
        Ok(Self { requests, _thread: thread })
    }

    /// Asks for sockets to be closed, and returns at once. See [`Request`] for what must be done
    /// before. What waits while a pass is made is answered by one pass after it.
    pub fn request(&self, request: Request) {
        // Without the thread, which panicked and printed so, nothing is closed.
        let _ = self.requests.send(request);
    }
}

fn serve(
    requests: &Receiver<Request>,
    origins: &impl Fn() -> io::Result<Vec<Origin>>,
    mut told: impl FnMut(&Report),
) {
    let mut passes = Passes::new(Kernel);
    let mut said = Said::default();
    loop {
        let first = match passes.due() {
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => requests.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        let mut wanted = Wanted::default();
        match first {
            Ok(request) => iter::once(request)
                .chain(requests.try_iter())
                .for_each(|request| wanted.add(request)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let report = passes.make(wanted, origins, Instant::now);
        log(&report, &mut said);
        if report.errors.is_empty() && !passes.is_failing() {
            said.forget();
        }
        told(&report);
    }
}

fn log(report: &Report, said: &mut Said) {
    if report.udp + report.tcp > 0 {
        info!(
            udp = report.udp,
            tcp = report.tcp,
            backends = report.backends,
            "closed sockets that were connected to backends that no longer serve"
        );
    }
    debug!(
        origins = report.origins,
        stale = report.stale,
        again = report.again,
        missed = report.missed,
        "looked for stale sockets"
    );
    for error in &report.errors {
        let text = chain(error);
        if said.is_new(error) {
            warn!("{text}");
        } else {
            debug!("{text}");
        }
    }
}

/// "TCP" or "UDP".
fn name(protocol: u8) -> &'static str {
    if protocol == TCP { "TCP" } else { "UDP" }
}
