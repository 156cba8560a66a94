//! What is called, and on which sockets.
//!
//! Where only the program counts, nothing else may happen between two calls: they go to an address
//! that no route leads to, or only look at what they receive.

use std::{net::SocketAddr, rc::Rc};

use anyhow::{Result, ensure};
use lab::{
    family::{Dual, Family},
    socket::Socket,
};

use super::{
    calls::{self, Call, PAYLOAD, timed},
    sender::Sender,
    site::{DEAD_ENDS, Site, To},
};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// `connect()` of a new TCP socket, which reaches the Pod, and is greeted.
    TcpConnection,
    /// `connect()` of a new TCP socket.
    TcpConnect,
    /// `connect()` of one TCP socket, again and again.
    TcpReconnect,
    /// `connect()` of a new UDP socket.
    UdpConnect,
    /// `connect()` of one UDP socket, again and again.
    UdpReconnect,
    /// `sendto()` on one socket.
    SendTo,
    /// `sendto()` on one socket, to each dead end in turn.
    SendToSixteen,
    /// `sendto()` on one socket that has sent to each dead end.
    SendToAfterSixteen,
    /// The first `sendto()` of a new socket.
    FirstSendTo,
    /// `send()` on a connected socket.
    Send,
    /// `recvfrom()` of what the Pod answers to a socket that has sent there.
    ReceiveFrom,
    /// The same with MSG_PEEK, so that one datagram does for all calls.
    Peek,
    /// The same on a socket that has sent to each dead end too.
    PeekAfterSixteen,
    /// The same on a connected socket.
    PeekConnected,
    /// `getpeername()` of a UDP socket.
    PeerName,
    /// `getpeername()` of a TCP socket.
    TcpPeerName,
    /// `bind()` of a new UDP socket.
    Bind,
}

/// A call that is to be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) act: Act,
    pub(super) family: Family,
    pub(super) to: To,
}

impl Work {
    /// Whether the time of the whole call means anything.
    pub(super) fn is_whole(self) -> bool {
        let peeks = matches!(self.act, Act::Peek | Act::PeekAfterSixteen | Act::PeekConnected);
        !peeks && self.to.answer().is_ok()
    }

    /// Makes the sockets of a batch of calls. They belong to the cgroup that this process is in.
    pub(super) fn start(self, site: &Site, sender: &Rc<Sender>) -> Result<Call> {
        let Self { act, family, to } = self;
        let address = move |to: Dual| to.seen_by(family);
        let (there, expected) = (address(site.address(to)), to.answer());
        let shown = address(site.shown(to));
        Ok(match act {
            Act::TcpConnection => {
                let mut next = site.addresses(to);
                Box::new(move |rng| calls::connection(address(next(rng))))
            }
            Act::TcpConnect => Box::new(move |_| {
                let socket = Socket::tcp(family)?;
                timed(expected, || socket.connect(there))
            }),
            Act::UdpConnect => Box::new(move |_| {
                let socket = Socket::udp(family)?;
                timed(expected, || socket.connect(there))
            }),
            Act::TcpReconnect | Act::UdpReconnect => {
                let socket = if act == Act::TcpReconnect {
                    Socket::tcp(family)?
                } else {
                    Socket::udp(family)?
                };
                Box::new(move |_| timed(expected, || socket.connect(there)))
            }
            Act::SendTo => {
                let socket = Socket::udp(family)?;
                Box::new(move |_| timed(expected, || socket.send_to(PAYLOAD, there)))
            }
            Act::SendToSixteen => {
                let socket = Socket::udp(family)?;
                let ends: Vec<SocketAddr> = site.dead_ends().map(address).collect();
                let mut turn = 0;
                Box::new(move |_| {
                    turn = (turn + 1) % DEAD_ENDS as usize;
                    timed(expected, || socket.send_to(PAYLOAD, ends[turn]))
                })
            }
            Act::SendToAfterSixteen => {
                let socket = calls::talks_to_sixteen(family, site)?;
                Box::new(move |_| timed(expected, || socket.send_to(PAYLOAD, there)))
            }
            Act::FirstSendTo => Box::new(move |_| {
                let socket = Socket::udp(family)?;
                timed(expected, || socket.send_to(PAYLOAD, there))
            }),
            Act::Send => {
                let socket = Socket::udp(family)?;
                socket.connect(there)?;
                Box::new(move |_| timed(expected, || socket.send(PAYLOAD)))
            }
            Act::ReceiveFrom | Act::Peek => {
                let socket = Socket::udp(family)?;
                socket.send_to(PAYLOAD, there)?;
                calls::receive(family, socket, sender, shown, act == Act::Peek)?
            }
            Act::PeekAfterSixteen => {
                let socket = calls::talks_to_sixteen(family, site)?;
                socket.send_to(PAYLOAD, there)?;
                calls::receive(family, socket, sender, there, true)?
            }
            Act::PeekConnected => {
                let socket = Socket::udp(family)?;
                socket.connect(there)?;
                calls::receive(family, socket, sender, there, true)?
            }
            Act::PeerName | Act::TcpPeerName => {
                let socket = if act == Act::TcpPeerName {
                    Socket::tcp(family)?
                } else {
                    Socket::udp(family)?
                };
                socket.connect(there)?;
                ensure!(socket.peer()? == shown, "{shown} is not shown as the peer");
                Box::new(move |_| timed(Ok(()), || socket.peer().map(drop)))
            }
            Act::Bind => {
                let here = calls::free_address(family);
                Box::new(move |_| {
                    let socket = Socket::udp(family)?;
                    timed(Ok(()), || socket.bind(here))
                })
            }
        })
    }
}
