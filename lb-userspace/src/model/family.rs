//! The two address families, so that what holds for both is written once and costs each its own
//! size.
//!
//! This module must never mix them: an endpoint of one family never serves a frontend of the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::{
    Address6, Backends,
    address::{parse_ipv4, parse_ipv6},
    endpoint::{Endpoint, Endpoints},
};

/// An address of one family.
pub(super) trait Address: Copy + Ord + Into<IpAddr> {
    /// Which family.
    const IS_IPV4: bool;

    /// Why a text is not read. Completes "because".
    const NO_ADDRESS: &'static str;

    /// With a port.
    type Socket: Copy + Ord;

    /// Reads one as objects spell it.
    fn parse(text: &str) -> Option<Self>;

    /// Adds a port.
    fn socket(self, port: u16) -> Self::Socket;

    /// Makes a set of what is sorted and free of duplicates.
    fn backends(sorted: Box<[Self::Socket]>) -> Backends;

    /// Those of this family: none in a slice of the other.
    fn endpoints(all: &Endpoints) -> &[Endpoint<Self>];
}

impl Address for Ipv4Addr {
    const IS_IPV4: bool = true;

    const NO_ADDRESS: &'static str = "it is no IPv4 address";

    type Socket = SocketAddrV4;

    fn parse(text: &str) -> Option<Self> {
        parse_ipv4(text)
    }

    fn socket(self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self, port)
    }

    fn backends(sorted: Box<[SocketAddrV4]>) -> Backends {
        Backends::V4(sorted)
    }

    fn endpoints(all: &Endpoints) -> &[Endpoint<Self>] {
        if let Endpoints::V4(endpoints) = all { endpoints } else { &[] }
    }
}

impl Address for Ipv6Addr {
    const IS_IPV4: bool = false;

    const NO_ADDRESS: &'static str = "it is no IPv6 address";

    type Socket = Address6;

    fn parse(text: &str) -> Option<Self> {
        parse_ipv6(text)
    }

    fn socket(self, port: u16) -> Address6 {
        Address6 { address: self, port }
    }

    fn backends(sorted: Box<[Address6]>) -> Backends {
        Backends::V6(sorted)
    }

    fn endpoints(all: &Endpoints) -> &[Endpoint<Self>] {
        if let Endpoints::V6(endpoints) = all { endpoints } else { &[] }
    }
}

/// Something of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerFamily<T> {
    pub(super) v4: T,
    pub(super) v6: T,
}

impl<T> PerFamily<T> {
    /// That of an address.
    pub(super) fn of(&self, address: IpAddr) -> &T {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    /// That of an address, to be changed.
    pub(super) fn of_mut(&mut self, address: IpAddr) -> &mut T {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}
