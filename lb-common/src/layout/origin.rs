//! `lb_origins` and `lb_udp_origins`: where a socket wanted to go before it was translated.
//!
//! Both live as long as their socket does, and are carried over from one generation of tables to
//! the next: a newer agent reads what an older one's programs wrote. So their layout is frozen. New
//! fields take spare bytes, which are zero until then; anything else takes a new map.

use core::mem::{align_of, offset_of, size_of};

/// What [`Origin::version`] says.
pub const ORIGIN_VERSION: u8 = 1;

/// An IPv6 address, or an IPv4 address as mapped (RFC 4291, 2.5.5.2), as the words that its octets in
/// network byte order form in memory: the kernel's programs compare words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Octets {
    /// The first four octets, and so on.
    pub words: [u32; 4],
}

impl Octets {
    /// An IPv4 address.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self { words: [0, 0, MAPPED, u32::from_ne_bytes(octets)] }
    }

    /// An IPv6 address.
    #[inline(always)]
    pub const fn v6(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]];
        let [first, second, third, last] = words;
        let first = u32::from_ne_bytes(first);
        let second = u32::from_ne_bytes(second);
        let third = u32::from_ne_bytes(third);
        Self { words: [first, second, third, u32::from_ne_bytes(last)] }
    }

    /// The IPv4 address, if it is one.
    #[inline(always)]
    pub const fn as_v4(self) -> Option<[u8; 4]> {
        match self.words {
            [0, 0, MAPPED, last] => Some(last.to_ne_bytes()),
            _ => None,
        }
    }

    /// All octets.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 16] {
        let [first, second, third, last] = self.words;
        let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
        let ([i, j, k, l], [m, n, o, p]) = (third.to_ne_bytes(), last.to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

/// The third word of an IPv4-mapped address.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// Value of `lb_origins`: a connected socket that was sent to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Origin {
    /// [`ORIGIN_VERSION`]; 0: the socket was connected elsewhere since.
    pub version: u8,
    /// IANA protocol number.
    pub protocol: u8,
    /// Always zero.
    pub reserved: u16,
    /// The port that the application connected to, in host byte order.
    pub frontend_port: u16,
    /// The port that it was sent to, in host byte order.
    pub backend_port: u16,
    /// The address that the application connected to.
    pub frontend: Octets,
    /// The address that it was sent to.
    pub backend: Octets,
    /// [`super::Service::id`].
    pub service: u32,
    /// [`super::Backend4::id`].
    pub backend_id: u32,
    /// The socket's cookie (SO_COOKIE), as sock_diag shows it.
    pub socket: u64,
    /// Its network namespace's cookie (SO_NETNS_COOKIE).
    pub netns: u64,
    /// Zero.
    pub spare: [u64; 2],
}

/// Services that one unconnected UDP socket can talk to at once and get the right source address
/// of each reply.
pub const PEERS: usize = 16;

/// A Service that an unconnected UDP socket has sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Peer {
    /// As [`Origin::frontend`].
    pub frontend: Octets,
    /// As [`Origin::backend`].
    pub backend: Octets,
    /// In host byte order; 0: the entry is free.
    pub frontend_port: u16,
    /// In host byte order.
    pub backend_port: u16,
    /// [`super::Backend4::id`].
    pub backend_id: u32,
    /// The frontend's slot when the entry was made.
    pub slot: u32,
    /// Where the backend stood in its range then.
    pub hint: u32,
    /// [`UdpOrigins::clock`] when the socket last sent there.
    pub used: u32,
    /// Zero.
    pub spare: u32,
}

/// Value of `lb_udp_origins`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct UdpOrigins {
    /// [`ORIGIN_VERSION`] once anything is in it.
    pub version: u32,
    /// Counts changes of the Service that is sent to. It may wrap: then the wrong entry is taken
    /// for the oldest, once.
    pub clock: u32,
    /// Which entry was used last.
    pub recent: u32,
    /// Zero.
    pub spare: u32,
    /// In no order.
    pub peers: [Peer; PEERS],
}

const _: () = {
    assert!(size_of::<Octets>() == 16 && align_of::<Octets>() == 4);
    assert!(size_of::<Origin>() == 80 && align_of::<Origin>() == 8);
    assert!(offset_of!(Origin, frontend_port) == 4 && offset_of!(Origin, backend_port) == 6);
    assert!(offset_of!(Origin, frontend) == 8 && offset_of!(Origin, backend) == 24);
    assert!(offset_of!(Origin, service) == 40 && offset_of!(Origin, backend_id) == 44);
    assert!(offset_of!(Origin, socket) == 48 && offset_of!(Origin, netns) == 56);
    assert!(size_of::<Peer>() == 56 && align_of::<Peer>() == 4);
    assert!(offset_of!(Peer, frontend_port) == 32 && offset_of!(Peer, backend_id) == 36);
    assert!(offset_of!(Peer, slot) == 40 && offset_of!(Peer, used) == 48);
    assert!(size_of::<UdpOrigins>() == 16 + PEERS * 56);
    assert!(offset_of!(UdpOrigins, peers) == 16);
};
