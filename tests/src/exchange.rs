//! A datagram and its answer, in each way in which an application can send the one and receive the
//! other.
//!
//! It must never take an answer to something else for the one that was asked for.

use std::net::SocketAddr;

use rustix::io::{Errno, Result};

use crate::{
    family::{Dual, Family},
    socket::Socket,
};

/// What a server answered to a datagram, or says of itself on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub identity: u16,
    /// What it was sent.
    pub payload: Vec<u8>,
    /// Where the answer comes from, as far as the system call says.
    pub source: Option<SocketAddr>,
}

/// A way to send a datagram and to receive the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `connect()`, `send()`, `recv()`.
    Connected,
    /// `connect()`, `send()`, `recvfrom()`.
    ConnectedFrom,
    /// `sendto()`, `recvfrom()`.
    SendTo,
    /// `sendmsg()`, `recvmsg()`.
    SendMsg,
    /// `sendmmsg()`, `recvmmsg()`.
    SendMmsg,
}

impl Way {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Connected, Self::ConnectedFrom, Self::SendTo, Self::SendMsg, Self::SendMmsg];
}

impl Socket {
    /// Sends a datagram and receives the answer to it, in this way.
    ///
    /// # Errors
    /// Those of the system calls; EBADMSG when something else was answered.
    pub fn ask(&self, way: Way, payload: &[u8], to: impl Into<SocketAddr>) -> Result<Answer> {
        let answer = match way {
            Way::Connected | Way::ConnectedFrom => {
                self.connect(to)?;
                self.send(payload)?;
                if way == Way::Connected { self.receive()? } else { self.receive_from()? }
            }
            Way::SendTo => {
                self.send_to(payload, to)?;
                self.receive_from()?
            }
            Way::SendMsg => {
                self.send_msg(payload, to)?;
                self.receive_msg()?
            }
            Way::SendMmsg => {
                self.send_mmsg(payload, to)?;
                self.receive_mmsg()?
            }
        };
        if answer.payload == payload { Ok(answer) } else { Err(Errno::BADMSG) }
    }
}

/// A way to ask a server who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Over a TCP connection.
    Tcp,
    /// With a datagram.
    Udp(Way),
}

/// What a socket learned of the server that it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Who answered.
    pub identity: u16,
    /// Its address, as the socket shows it: by `getpeername()` if it is connected, or else as the
    /// answer's source.
    pub peer: SocketAddr,
}

impl Means {
    /// TCP, connected UDP and unconnected UDP: each kind of socket once.
    pub const KINDS: [Self; 3] = [Self::Tcp, Self::Udp(Way::Connected), Self::Udp(Way::SendTo)];

    /// TCP, and each way of sending a datagram.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Tcp).chain(Way::ALL.map(Self::Udp))
    }

    /// Asks on a socket of its own.
    ///
    /// # Errors
    /// Those of the system calls; EBADMSG when something else was answered.
    pub fn ask(self, family: Family, to: impl Into<SocketAddr>) -> Result<Met> {
        match self {
            Self::Tcp => {
                let socket = Socket::tcp(family)?;
                socket.connect(to)?;
                Ok(Met { peer: socket.peer()?, identity: socket.identity()? })
            }
            Self::Udp(way) => {
                let socket = Socket::udp(family)?;
                let Answer { identity, source, .. } = socket.ask(way, b"who?", to)?;
                let peer = source.map_or_else(|| socket.peer(), Ok)?;
                Ok(Met { identity, peer })
            }
        }
    }

    /// Who answers there to a socket of its own, which must be shown the address that it asked for.
    ///
    /// # Errors
    /// Those of [`ask`](Self::ask); EBADMSG when it is shown another address.
    pub fn reach(self, family: Family, at: Dual) -> Result<u16> {
        let address = at.seen_by(family);
        let met = self.ask(family, address)?;
        if met.peer == address { Ok(met.identity) } else { Err(Errno::BADMSG) }
    }
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8], source: Option<SocketAddr>) -> Result<Self> {
        let (identity, payload) = bytes.split_first_chunk().ok_or(Errno::BADMSG)?;
        Ok(Self { identity: u16::from_be_bytes(*identity), payload: payload.to_vec(), source })
    }
}
