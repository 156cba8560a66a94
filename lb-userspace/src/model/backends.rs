//! A set of backends of one address family, 6 bytes each in IPv4 and 18 in IPv6.
//!
//! This module must never choose: a set says where connections may go, not where one goes.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IPv6 address and port. The standard library's type has a flow label and a scope besides,
/// which no backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address6 {
    /// The address.
    pub address: Ipv6Addr,
    /// The port.
    pub port: u16,
}

const _: () = assert!(size_of::<SocketAddrV4>() == 6 && size_of::<Address6>() == 18);

impl From<Address6> for SocketAddr {
    fn from(Address6 { address, port }: Address6) -> Self {
        Self::V6(SocketAddrV6::new(address, port, 0, 0))
    }
}

/// The backends of a frontend: sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backends {
    /// Of an IPv4 frontend.
    V4(Box<[SocketAddrV4]>),
    /// Of an IPv6 frontend.
    V6(Box<[Address6]>),
}

impl Backends {
    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        (0..self.len()).map(|index| match self {
            Self::V4(backends) => backends[index].into(),
            Self::V6(backends) => backends[index].into(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::V4(backends) => backends.len(),
            Self::V6(backends) => backends.len(),
        }
    }

    /// Whether there is none, so that connections are refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of both, which are of one family.
    pub(super) fn union(self, other: &Self) -> Self {
        match (self, other) {
            (Self::V4(one), Self::V4(other)) => Self::V4(union(one, other)),
            (Self::V6(one), Self::V6(other)) => Self::V6(union(one, other)),
            (one, _) => one,
        }
    }

    /// Whether this is one of them.
    pub fn contains(&self, backend: SocketAddr) -> bool {
        match (self, backend) {
            (Self::V4(backends), SocketAddr::V4(backend)) => {
                backends.binary_search(&backend).is_ok()
            }
            (Self::V6(backends), SocketAddr::V6(backend)) => {
                let wanted = Address6 { address: *backend.ip(), port: backend.port() };
                backends.binary_search(&wanted).is_ok()
            }
            _ => false,
        }
    }
}

fn union<T: Copy + Ord>(one: Box<[T]>, other: &[T]) -> Box<[T]> {
    let mut all = one.into_vec();
    all.extend_from_slice(other);
    all.sort_unstable();
    all.dedup();
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_its_own_family_alone() {
        let four = Backends::V4(Box::new(["10.0.0.1:80".parse().unwrap()]));
        let six =
            Backends::V6(Box::new([Address6 { address: "fd00::1".parse().unwrap(), port: 8 }]));
        for (set, own) in [(&four, "10.0.0.1:80"), (&six, "[fd00::1]:8")] {
            assert_eq!(set.iter().map(|backend| backend.to_string()).collect::<Vec<_>>(), [own]);
            for address in ["10.0.0.1:80", "10.0.0.1:81", "[fd00::1]:8", "[fd00::2]:8"] {
                assert_eq!(set.contains(address.parse().unwrap()), address == own, "{address}");
            }
        }
        assert!(Backends::V6(Box::default()).is_empty());
    }
}
