//! The three ways in which a socket can name an address, and things that have one in each family.
//!
//! What a socket is told and what packets carry must never be mixed up: a mapped address is in no
//! packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::net::AddressFamily;

/// What a socket is, and how it is told addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// An AF_INET socket.
    V4,
    /// An AF_INET6 socket that talks IPv6.
    V6,
    /// An AF_INET6 socket that talks IPv4, to addresses of the form ::ffff:a.b.c.d.
    Mapped,
}

impl Family {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Mapped];

    /// The family that such a socket is made with.
    pub fn domain(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::INET,
            Self::V6 | Self::Mapped => AddressFamily::INET6,
        }
    }
}

/// An address and port in either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    /// In IPv4.
    pub v4: SocketAddrV4,
    /// In IPv6.
    pub v6: SocketAddrV6,
}

impl Dual {
    /// Both addresses with the same port, in host byte order.
    pub const fn new(v4: Ipv4Addr, v6: Ipv6Addr, port: u16) -> Self {
        Self { v4: SocketAddrV4::new(v4, port), v6: SocketAddrV6::new(v6, port, 0, 0) }
    }

    /// The ClusterIPs 10.96.0.`host` and fd00:10:96::`host`, with a port in host byte order.
    pub const fn cluster_ip(host: u8, port: u16) -> Self {
        let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, host as u16);
        Self::new(Ipv4Addr::new(10, 96, 0, host), v6, port)
    }

    /// As a socket of this family is told it, and tells it.
    pub fn seen_by(self, family: Family) -> SocketAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
            Family::Mapped => mapped(self.v4),
        }
    }

    /// As packets carry it when a socket of this family talks to it.
    pub fn in_packets_of(self, family: Family) -> SocketAddr {
        match family {
            Family::V4 | Family::Mapped => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

/// An IPv4 address as an AF_INET6 socket tells it.
pub fn mapped(address: SocketAddrV4) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(address.ip().to_ipv6_mapped()), address.port())
}
