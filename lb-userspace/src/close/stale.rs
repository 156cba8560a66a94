//! A socket that may have to be closed, as far as its origin tells.
//!
//! An origin that this version does not understand must never make a socket stale.

use std::net::{Ipv6Addr, SocketAddr};

use lb_common::layout::{ORIGIN_VERSION, Origin};

use super::{TCP, UDP};

/// What a socket's origin says, as far as closing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stale {
    /// The socket's cookie: it names one socket for as long as the machine runs.
    pub(super) socket: u64,
    /// The cookie of its network namespace.
    pub(super) netns: u64,
    /// IANA's number of TCP or UDP.
    pub(super) protocol: u8,
    pub(super) service: u32,
    /// The backend's id.
    pub(super) backend_id: u32,
    /// The peer it must have. An IPv4 address is never written as an IPv4-mapped one.
    pub(super) backend: SocketAddr,
}

impl Stale {
    /// `None` for an origin that this version does not understand, and for other protocols.
    pub(super) fn new(origin: &Origin) -> Option<Self> {
        let known = origin.version == ORIGIN_VERSION && [TCP, UDP].contains(&origin.protocol);
        known.then(|| Self {
            socket: origin.socket,
            netns: origin.netns,
            protocol: origin.protocol,
            service: origin.service,
            backend_id: origin.backend_id,
            backend: SocketAddr::new(
                Ipv6Addr::from(origin.backend.octets()).to_canonical(),
                origin.backend_port,
            ),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use lb_common::layout::Octets;

    use super::*;

    /// The origin of a socket that was sent from 10.96.0.10:53 to `backend`.
    pub(in crate::close) fn origin(
        socket: u64,
        netns: u64,
        protocol: u8,
        service: u32,
        backend: &str,
    ) -> Origin {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => Octets::v4(address.octets()),
            IpAddr::V6(address) => Octets::v6(address.octets()),
        };
        let backend: SocketAddr = backend.parse().unwrap();
        Origin {
            version: ORIGIN_VERSION,
            protocol,
            reserved: 0,
            frontend_port: 53,
            backend_port: backend.port(),
            frontend: octets("10.96.0.10".parse().unwrap()),
            backend: octets(backend.ip()),
            service,
            backend_id: 900,
            socket,
            netns,
            spare: [0; 2],
        }
    }

    /// A socket in namespace 1.
    pub(in crate::close) fn stale(socket: u64, protocol: u8, service: u32, backend: &str) -> Stale {
        Stale::new(&origin(socket, 1, protocol, service, backend)).unwrap()
    }

    #[test]
    fn an_origin_tells_the_socket_and_its_backend() {
        let expected = Stale {
            socket: 7,
            netns: 1,
            protocol: UDP,
            service: 3,
            backend_id: 900,
            backend: "10.244.0.9:5353".parse().unwrap(),
        };
        assert_eq!(Stale::new(&origin(7, 1, UDP, 3, "10.244.0.9:5353")), Some(expected));
        let backend = "[fd00::9]:5353".parse().unwrap();
        let expected = Stale { protocol: TCP, backend, ..expected };
        assert_eq!(Stale::new(&origin(7, 1, TCP, 3, "[fd00::9]:5353")), Some(expected));
    }

    #[test]
    fn origins_of_other_versions_and_protocols_are_left_alone() {
        let known = origin(7, 1, UDP, 3, "10.244.0.9:53");
        assert_eq!(Stale::new(&Origin { version: 2, ..known }), None);
        assert_eq!(Stale::new(&Origin { version: 0, ..known }), None);
        assert_eq!(Stale::new(&Origin { protocol: 132, ..known }), None);
    }
}
