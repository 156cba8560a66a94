//! The two address families, as values for the publisher and as types for the tables.
//!
//! The publisher must never depend on what an address looks like: what differs between the families
//! stands here.

use std::{
    net::{IpAddr, SocketAddr},
    ops::{Index, IndexMut},
};

use lb_common::{Backend4, Backend6, FrontendKey4, FrontendKey6, V4, V6};

use crate::{model::FrontendKey, plan::placement::Backend};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The entry of `lb_services` that is this family's slot number `index`. No slot changes its
    /// family: a socket remembers one for longer than any grace period, and what it finds there
    /// later must be a range of the same table of backends.
    pub(super) const fn slot(self, index: u32) -> u32 {
        index * 2 + self as u32
    }

    /// The inverse of [`Self::slot`].
    pub(super) const fn of_slot(slot: u32) -> (Self, u32) {
        (if slot.is_multiple_of(2) { Self::V4 } else { Self::V6 }, slot / 2)
    }

    /// The name of the family's table of frontends.
    pub const fn frontends(self) -> &'static str {
        match self {
            Self::V4 => "lb_frontends4",
            Self::V6 => "lb_frontends6",
        }
    }

    /// The name of the family's table of backends.
    pub const fn backends(self) -> &'static str {
        match self {
            Self::V4 => "lb_backends4",
            Self::V6 => "lb_backends6",
        }
    }
}

/// Something that each family has one of.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerFamily<T>([T; 2]);

impl<T> PerFamily<T> {
    /// One for each.
    pub fn new(mut make: impl FnMut(Family) -> T) -> Self {
        Self([make(Family::V4), make(Family::V6)])
    }
}

impl<T> Index<Family> for PerFamily<T> {
    type Output = T;

    fn index(&self, family: Family) -> &T {
        &self.0[family as usize]
    }
}

impl<T> IndexMut<Family> for PerFamily<T> {
    fn index_mut(&mut self, family: Family) -> &mut T {
        &mut self.0[family as usize]
    }
}

/// How the tables of one family spell keys and backends.
pub trait Wire: lb_common::Family {
    /// The family.
    const FAMILY: Family;

    /// A key in the table's spelling.
    ///
    /// # Panics
    ///
    /// If it is of the other family, as the next one.
    fn key(key: &FrontendKey) -> Self::Key;

    /// A backend in the table's spelling.
    fn backend(backend: &Backend) -> Self::Backend;

    /// The backend that an entry stands for.
    fn read(entry: &Self::Backend) -> Backend;
}

/// The digest of a key, as its slot and its value have it.
pub(super) fn tag(key: &FrontendKey) -> u32 {
    match key.address {
        IpAddr::V4(_) => V4::key(key).tag(),
        IpAddr::V6(_) => V6::key(key).tag(),
    }
}

impl Wire for V4 {
    const FAMILY: Family = Family::V4;

    fn key(key: &FrontendKey) -> FrontendKey4 {
        let IpAddr::V4(address) = key.address else { panic!("{key} is not of IPv4") };
        FrontendKey4::new(address.octets(), key.port, key.protocol as u8)
    }

    fn backend(backend: &Backend) -> Backend4 {
        let SocketAddr::V4(address) = backend.address else { panic!("{backend:?} is not of IPv4") };
        let (octets, port) = (address.ip().octets(), address.port());
        Backend4 { address: octets, port, flags: 0, id: backend.id, reserved: 0 }
    }

    fn read(entry: &Backend4) -> Backend {
        Backend { address: (entry.address, entry.port).into(), id: entry.id }
    }
}

impl Wire for V6 {
    const FAMILY: Family = Family::V6;

    fn key(key: &FrontendKey) -> FrontendKey6 {
        let IpAddr::V6(address) = key.address else { panic!("{key} is not of IPv6") };
        FrontendKey6::new(address.octets(), key.port, key.protocol as u8)
    }

    fn backend(backend: &Backend) -> Backend6 {
        let SocketAddr::V6(address) = backend.address else { panic!("{backend:?} is not of IPv6") };
        let (octets, port) = (address.ip().octets(), address.port());
        Backend6 { address: octets, port, flags: 0, id: backend.id }
    }

    fn read(entry: &Backend6) -> Backend {
        Backend { address: (entry.address, entry.port).into(), id: entry.id }
    }
}
