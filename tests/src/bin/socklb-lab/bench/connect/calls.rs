//! The system calls that are measured, one function each: it makes what a batch needs, and returns
//! the call.
//!
//! Where only the program counts, calls go to an address that no route leads to: right after the
//! program has run, the kernel gives up, and leaves the socket as it was.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use lab::{
    client,
    family::{Dual, Family},
    socket::{Errno, Socket},
};
use rustix::{
    io::Result as Answer,
    net::{RecvFlags, recvfrom},
};

use super::{IDENTITY, case::Call, sender::Sender};

/// Datagrams that wait in the socket's queue while they are received one after the other.
const QUEUE: u32 = 32;
const PAYLOAD: &[u8] = b"some name to be resolved";

/// What comes next: some address, of those that the case is about.
pub(super) type Next = Box<dyn FnMut(&mut Rng) -> Dual>;

/// `connect()` of a new TCP socket that reaches the Pod.
pub(super) fn connection(family: Family, mut next: Next) -> Call {
    Box::new(move |rng| {
        let to = next(rng).seen_by(family);
        let connection = client::connect(to, client::TIMEOUT)
            .with_context(|| format!("cannot connect to {to}"))?;
        let took = connection.took;
        ensure!(connection.identity()? == IDENTITY, "{to} reached another Pod");
        Ok(took)
    })
}

/// `connect()` of a new TCP socket that ends behind the program.
pub(super) fn unrouted_connect(family: Family, to: Dual) -> Call {
    let to = to.seen_by(family);
    Box::new(move |_| {
        let socket = Socket::tcp(family)?;
        unrouted(|| socket.connect(to))
    })
}

/// The same, with one socket again and again.
pub(super) fn unrouted_connect_again(family: Family, to: Dual) -> Result<Call> {
    let to = to.seen_by(family);
    let socket = Socket::tcp(family)?;
    Ok(Box::new(move |_| unrouted(|| socket.connect(to))))
}

/// `connect()` of a new UDP socket.
pub(super) fn udp_connect(family: Family, to: Dual) -> Call {
    let to = to.seen_by(family);
    Box::new(move |_| {
        let socket = Socket::udp(family)?;
        timed(|| socket.connect(to))
    })
}

/// The same, with one socket again and again.
pub(super) fn udp_connect_again(family: Family, to: Dual) -> Result<Call> {
    let to = to.seen_by(family);
    let socket = Socket::udp(family)?;
    Ok(Box::new(move |_| timed(|| socket.connect(to))))
}

/// `sendto()` on one socket, to each of these in turn, of which nothing is sent. Before that, one to
/// each of `earlier`.
pub(super) fn unrouted_send(family: Family, to: Vec<Dual>, earlier: &[Dual]) -> Result<Call> {
    let socket = Socket::udp(family)?;
    for to in earlier {
        unrouted(|| socket.send_to(PAYLOAD, to.seen_by(family)))?;
    }
    let to: Vec<SocketAddr> = to.into_iter().map(|to| to.seen_by(family)).collect();
    let mut turn = 0;
    Ok(Box::new(move |_| {
        turn = (turn + 1) % to.len();
        let to = to[turn];
        unrouted(|| socket.send_to(PAYLOAD, to))
    }))
}

/// The first `sendto()` of a new socket, of which nothing is sent.
pub(super) fn unrouted_first_send(family: Family, to: Dual) -> Call {
    let to = to.seen_by(family);
    Box::new(move |_| {
        let socket = Socket::udp(family)?;
        unrouted(|| socket.send_to(PAYLOAD, to))
    })
}

/// `sendto()` on one socket, which the Pod receives.
pub(super) fn send(family: Family, to: Dual) -> Result<Call> {
    let to = to.seen_by(family);
    let socket = Socket::udp(family)?;
    Ok(Box::new(move |_| timed(|| socket.send_to(PAYLOAD, to))))
}

/// The first `sendto()` of a new socket, which the Pod receives.
pub(super) fn first_send(family: Family, to: Dual) -> Call {
    let to = to.seen_by(family);
    Box::new(move |_| {
        let socket = Socket::udp(family)?;
        timed(|| socket.send_to(PAYLOAD, to))
    })
}

/// `send()` on a socket that is connected there.
pub(super) fn connected_send(family: Family, to: Dual) -> Result<Call> {
    let socket = Socket::udp(family)?;
    socket.connect(to.seen_by(family))?;
    Ok(Box::new(move |_| timed(|| socket.send(PAYLOAD))))
}

/// `recvfrom()` of what the Pod sends to a socket that has sent to each of `earlier`; `source` is
/// what it must be told. Datagrams that `stay` in the queue are only looked at (MSG_PEEK), so that
/// nothing else happens in between.
pub(super) fn receive(
    family: Family,
    socket: Socket,
    sender: &Rc<Sender>,
    source: Dual,
    stay: bool,
) -> Result<Call> {
    let (sender, source) = (Rc::clone(sender), source.seen_by(family));
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
        let (_, _, told) = answer?;
        let told = told.map(SocketAddr::try_from).transpose()?;
        ensure!(told == Some(source), "a datagram from {source} came from {told:?}");
        Ok(took)
    }))
}

/// `getpeername()` of a socket that is connected there.
pub(super) fn peer(socket: Socket) -> Call {
    Box::new(move |_| timed(|| socket.peer().map(drop)))
}

/// `bind()` of a new UDP socket.
pub(super) fn bind(family: Family, to: SocketAddr) -> Call {
    Box::new(move |_| {
        let socket = Socket::udp(family)?;
        timed(|| socket.bind(to))
    })
}

/// What a call took that succeeds.
fn timed(call: impl FnOnce() -> Answer<()>) -> Result<Duration> {
    let start = Instant::now();
    let answer = call();
    let took = start.elapsed();
    answer?;
    Ok(took)
}

/// What a call took for which there is no route.
fn unrouted(call: impl FnOnce() -> Answer<()>) -> Result<Duration> {
    let start = Instant::now();
    let answer = call();
    let took = start.elapsed();
    ensure!(
        answer == Err(Errno::NETUNREACH),
        "the kernel was to find no route, but returned {answer:?}"
    );
    Ok(took)
}
