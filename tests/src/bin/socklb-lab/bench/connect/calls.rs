//! The system calls one by one: made, timed, and their answers checked.
//!
//! Nothing but the call may lie between two looks at the clock.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use lab::{
    client,
    family::{Dual, Family},
    socket::Socket,
};
use rustix::{
    io::Result as Answer,
    net::{RecvFlags, recvfrom},
};

use super::{
    IDENTITY,
    sender::Sender,
    site::{Site, To},
};

pub(super) const PAYLOAD: &[u8] = b"some name to be resolved";
/// Datagrams that wait in the socket's queue while they are received one after the other.
const QUEUE: u32 = 32;
/// Where node ports begin, and nothing listens in the lab.
const FREE_PORT: u16 = 30_000;

/// Makes the call once, with everything that has to come before and after it, and returns what the
/// call alone took.
pub(super) type Call = Box<dyn FnMut(&mut Rng) -> Result<Duration>>;

/// What a call takes that is answered like this.
pub(super) fn timed(expected: Answer<()>, call: impl FnOnce() -> Answer<()>) -> Result<Duration> {
    let start = Instant::now();
    let answer = call();
    let took = start.elapsed();
    ensure!(answer == expected, "the kernel was to return {expected:?}, but returned {answer:?}");
    Ok(took)
}

/// What `connect()` takes to make a connection, which must reach the Pod.
pub(super) fn connection(to: SocketAddr) -> Result<Duration> {
    let connection =
        client::connect(to, client::TIMEOUT).with_context(|| format!("cannot connect to {to}"))?;
    let took = connection.took;
    ensure!(connection.identity()? == IDENTITY, "{to} reached another Pod");
    Ok(took)
}

/// A socket that has sent to each dead end.
pub(super) fn talks_to_sixteen(family: Family, site: &Site) -> Result<Socket> {
    let socket = Socket::udp(family)?;
    for end in site.dead_ends() {
        timed(To::DeadEnd.answer(), || socket.send_to(PAYLOAD, end.seen_by(family)))?;
    }
    Ok(socket)
}

/// `recvfrom()` of what the Pod sends to this socket, which must be told that it comes from
/// `source`. Datagrams that `stay` are looked at only.
pub(super) fn receive(
    family: Family,
    socket: Socket,
    sender: &Rc<Sender>,
    source: SocketAddr,
    stay: bool,
) -> Result<Call> {
    let sender = Rc::clone(sender);
    let port = socket.local()?.port();
    let flags = if stay { RecvFlags::PEEK } else { RecvFlags::empty() };
    let mut buffer = [0; 64];
    let mut queued = 0;
    Ok(Box::new(move |_| {
        if queued == 0 {
            queued = if stay { 1 } else { QUEUE };
            (0..queued).try_for_each(|_| sender.send(family, port))?;
        }
        if !stay {
            queued -= 1;
        }
        let start = Instant::now();
        let answer = recvfrom(&socket, &mut buffer, flags);
        let took = start.elapsed();
        let told = answer?.2.map(SocketAddr::try_from).transpose()?;
        ensure!(told == Some(source), "a datagram from {source} came from {told:?}");
        Ok(took)
    }))
}

/// A local address that can be bound again and again.
pub(super) fn free_address(family: Family) -> SocketAddr {
    Dual::new(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, FREE_PORT).seen_by(family)
}
