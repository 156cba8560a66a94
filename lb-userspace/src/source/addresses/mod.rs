//! The addresses of the node's interfaces, as rtnetlink tells them: where node ports are served,
//! and which frontends are the node's own.
//!
//! ```text
//!  subscribed socket ── something changed ──> dump on a socket of its own ── another set? ──> event
//! ```
//!
//! A notification only says that something happened; a dump finds out what. So a lost, merged or
//! misunderstood notification cannot lose a change, and a burst of them costs one dump. The
//! subscription is there before the first dump, so nothing can happen unseen between the two.
//! Nothing is polled.
//!
//! Left out are loopback (127/8, ::1) and link-local addresses, IPv6 addresses that the kernel does
//! not let anyone use (duplicate, or not yet known not to be), and all addresses of the interface
//! `kube-ipvs0`, where kube-proxy puts those of Services: they are not the node's.
//!
//! This module must never interpret an address further than that, change anything in the kernel, or
//! look at another network namespace than that of the thread which calls it.

mod dump;
mod follow;
mod message;
mod socket;

use std::{
    io::{self, PipeWriter},
    net::IpAddr,
};

use thiserror::Error;

use self::{
    follow::Follower,
    socket::{Group, Socket},
};
use super::Event;
use crate::joined::Joined;

/// The node's addresses cannot be learnt.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel does not tell them.
    #[error("cannot learn the node's addresses from the kernel (NETLINK_ROUTE)")]
    Kernel(#[source] io::Error),
    /// The thread that follows them cannot be started.
    #[error("cannot start the thread that follows the node's addresses")]
    Thread(#[source] io::Error),
}

/// Follows the addresses until it is dropped, which ends its thread and waits for that.
#[derive(Debug)]
pub struct Watcher {
    /// Closed first, which wakes the thread.
    _stop: PipeWriter,
    _thread: Joined,
}

/// Hands the addresses of the calling thread's network namespace to `out`, as
/// [`Event::LocalAddresses`]: once before this returns, and then, from a thread of its own, all of
/// them again whenever they changed. So whoever calls this before a source that shares its channel
/// is started has the addresses there before [`Event::Synced`].
///
/// What goes wrong later is logged, and tried again after 100 ms at first and 10 s at last; the last
/// set stays. `out` may not block for ever: dropping the [`Watcher`] waits for it.
///
/// # Errors
/// If the kernel does not tell the addresses, or the thread cannot be started.
pub fn watch(mut out: impl FnMut(Event) + Send + 'static) -> Result<Watcher, Error> {
    let subscription = subscribe().map_err(Error::Kernel)?;
    let first = dump::dump().map_err(Error::Kernel)?;
    out(Event::LocalAddresses(first.addresses.clone()));
    let (stopped, stop) = io::pipe().map_err(Error::Thread)?;
    // Threads inherit the namespace, so a socket that it opens anew is in the same one.
    let follower = Follower::new(subscription, first, stopped);
    let thread = Joined::spawn("addresses", move || follower.run(out)).map_err(Error::Thread)?;
    Ok(Watcher { _stop: stop, _thread: thread })
}

/// The addresses of the calling thread's network namespace now: sorted, each once, less what this
/// module leaves out.
///
/// # Errors
/// If the kernel does not tell them.
pub fn assigned() -> io::Result<Vec<IpAddr>> {
    dump::dump().map(|dump| dump.addresses)
}

fn subscribe() -> io::Result<Socket> {
    Socket::subscribed([Group::Link, Group::Ipv4Address, Group::Ipv6Address])
}
