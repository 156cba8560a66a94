//! What closing needs of the node: its network namespaces, and each one's sockets.
//!
//! Traits, so that the passes can be tested without a kernel.
//!
//! Nothing here decides which sockets are closed.

use std::{io, net::SocketAddr};

use netlink_packet_sock_diag::{AF_INET, AF_INET6, inet::SocketId};

use super::{CloseError, diag::Netlink};
use crate::netns::{self, Namespace, NamespaceError, Search};

/// The node, or what stands in for it in a test.
pub(super) trait Node {
    type Place: Place;

    /// Each namespace once.
    fn namespaces(&mut self, search: Search) -> Result<Vec<Self::Place>, NamespaceError>;
}

/// A network namespace.
pub(super) trait Place {
    type Diag: Diag;

    fn inode(&self) -> u64;
    fn cookie(&self) -> Option<u64>;
    /// Access to the sockets inside.
    fn open(&self) -> Result<Self::Diag, CloseError>;
}

/// The sockets of one network namespace.
pub(super) trait Diag {
    /// Hands all sockets of this family and protocol that have a peer to `each`.
    fn list(
        &mut self,
        family: Family,
        protocol: u8,
        each: &mut dyn FnMut(Socket),
    ) -> io::Result<()>;

    /// Closes a socket under its application, which sees ECONNABORTED. `NotFound` if it has gone,
    /// or has another peer or address by now; `Unsupported` if the kernel cannot.
    fn destroy(&mut self, socket: &Socket) -> io::Result<()>;
}

/// A family of sockets. Those of AF_INET6 may have IPv4 peers, as IPv4-mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Inet,
    Inet6,
}

impl Family {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Inet => AF_INET,
            Self::Inet6 => AF_INET6,
        }
    }
}

/// A socket with a peer, as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) family: Family,
    /// IANA's number.
    pub(super) protocol: u8,
    pub(super) id: SocketId,
}

impl Socket {
    /// What `SO_COOKIE` tells. The message holds it as two words of 32 bits, the lower first
    /// (`sock_diag_save_cookie()` in net/core/sock_diag.c).
    pub(super) fn cookie(&self) -> u64 {
        let [a, b, c, d, e, f, g, h] = self.id.cookie;
        let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        u64::from(high) << 32 | u64::from(low)
    }

    /// The inverse of [`Self::cookie`].
    pub(super) fn cookie_bytes(cookie: u64) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&(cookie as u32).to_ne_bytes());
        bytes[4..].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
        bytes
    }

    /// Where the socket is connected to. An IPv4 address is never written as an IPv4-mapped one.
    pub(super) fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.id.destination_address.to_canonical(), self.id.destination_port)
    }
}

/// This machine.
pub(super) struct Kernel;

impl Node for Kernel {
    type Place = Namespace;

    fn namespaces(&mut self, search: Search) -> Result<Vec<Namespace>, NamespaceError> {
        let found = netns::namespaces(search)?;
        if found.denied > 0 {
            tracing::debug!(
                processes = found.denied,
                "the network namespaces of some processes may not be seen: CAP_SYS_PTRACE is missing"
            );
        }
        Ok(found.namespaces)
    }
}

impl Place for Namespace {
    type Diag = Netlink;

    fn inode(&self) -> u64 {
        self.inode
    }

    fn cookie(&self) -> Option<u64> {
        self.cookie
    }

    fn open(&self) -> Result<Netlink, CloseError> {
        self.run(Netlink::open)?.map_err(CloseError::Netlink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_cookie_and_its_peer() {
        let mut id = SocketId::new_v6();
        id.destination_address = "::ffff:10.244.0.9".parse().unwrap();
        id.destination_port = 53;
        id.cookie[..4].copy_from_slice(&2u32.to_ne_bytes());
        id.cookie[4..].copy_from_slice(&1u32.to_ne_bytes());
        assert_eq!(Socket::cookie_bytes(0x1_0000_0002), id.cookie);
        let socket = Socket { family: Family::Inet6, protocol: 17, id };
        assert_eq!(socket.cookie(), 0x1_0000_0002);
        assert_eq!(socket.peer(), "10.244.0.9:53".parse().unwrap());
    }
}
