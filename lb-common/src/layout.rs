//! The shapes of the table entries, byte for byte as the kernel, the agent and `bpftool` see them.
//!
//! Every type is `#[repr(C)]` without padding; sizes and offsets are asserted below, so a change
//! of layout cannot slip in unseen. Words that are published with one store are 8 bytes long and
//! aligned to 8, and come with `to_bits`/`from_bits`.
//!
//! This module must never hold logic that chooses: that is [`crate::select`].

use core::mem::{align_of, offset_of, size_of};

/// Key of `lb_frontends4`: one address and port that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FrontendKey4 {
    /// IPv4 address, in network byte order as its four octets.
    pub address: [u8; 4],
    /// Port in host byte order.
    pub port: u16,
    /// IANA protocol number: 6 for TCP, 17 for UDP.
    pub protocol: u8,
    /// Always zero.
    pub reserved: u8,
}

impl FrontendKey4 {
    /// Makes a key from octets in network order, a port in host order, and an IANA protocol number.
    #[inline(always)]
    pub const fn new(address: [u8; 4], port: u16, protocol: u8) -> Self {
        Self { address, port, protocol, reserved: 0 }
    }

    /// A 32-bit digest of the key, stored beside the slot in [`FrontendValue`].
    ///
    /// A reader that finds a value with another tag knows that the hash element it holds was
    /// given to another key meanwhile. Multiplication by an odd constant is a bijection on the 64
    /// bits of the key, so two keys share a tag with a chance of 2⁻³², and cheap on every CPU.
    #[inline(always)]
    pub const fn tag(&self) -> u32 {
        let place = self.port as u64 | (self.protocol as u64) << 16;
        let bits = u32::from_ne_bytes(self.address) as u64 | place << 32;
        (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }
}

/// Value of `lb_frontends4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct FrontendValue {
    /// Index into `lb_services`.
    pub slot: u32,
    /// [`FrontendKey4::tag`] of the key that this value belongs to.
    pub tag: u32,
}

impl FrontendValue {
    /// The value as the one word that readers load.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        word(self.slot, self.tag)
    }

    /// The value that [`Self::to_bits`] encoded.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        let (slot, tag) = halves(bits);
        Self { slot, tag }
    }
}

/// Where a service's backends stand in `lb_backends4`: the word that publication stores at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Range {
    /// Index of the first backend.
    pub first: u32,
    /// Number of backends.
    pub count: u32,
}

impl Range {
    /// A service without an eligible backend: connects are refused.
    pub const EMPTY: Self = Self { first: 0, count: 0 };

    /// A frontend that went away while its key is still in `lb_frontends4`: connects pass
    /// untouched, as if the key were gone.
    pub const GONE: Self = Self { first: u32::MAX, count: 0 };

    /// The range as the one word that is loaded and stored.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        word(self.first, self.count)
    }

    /// The range that [`Self::to_bits`] encoded.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        let (first, count) = halves(bits);
        Self { first, count }
    }
}

/// Entry of `lb_services`, indexed by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Service {
    /// The backends; read and written as one word.
    pub range: Range,
    /// Key into `lb_names`. Never reused while the tables live.
    pub id: u32,
    /// Always zero.
    pub reserved: u32,
}

impl Service {
    /// The entry's second word, which holds the id.
    #[inline(always)]
    pub const fn identity(id: u32) -> u64 {
        word(id, 0)
    }
}

/// Entry of `lb_backends4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Backend4 {
    /// IPv4 address, in network byte order as its four octets.
    pub address: [u8; 4],
    /// Port in host byte order.
    pub port: u16,
    /// Always zero.
    pub flags: u16,
    /// Names this backend of this frontend, for as long as the tables live. Never reused.
    pub id: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Value of `lb_origins`: what a connected socket was connected to, and where it was sent.
///
/// Read by tools and by agents of other versions, so the layout never changes under one
/// [`Self::VERSION`]. IPv4 addresses stand as IPv4-mapped ones, `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Origin {
    /// [`Self::VERSION`].
    pub version: u8,
    /// IANA protocol number: 6 for TCP, 17 for UDP.
    pub protocol: u8,
    /// Always zero.
    pub reserved: u16,
    /// The port that the application asked for, in host byte order.
    pub frontend_port: u16,
    /// The backend's port, in host byte order.
    pub backend_port: u16,
    /// The address that the application asked for, in network byte order.
    pub frontend: [u8; 16],
    /// The backend's address, in network byte order.
    pub backend: [u8; 16],
    /// The service port's id.
    pub service: u32,
    /// The backend's id.
    pub backend_id: u32,
    /// The socket's cookie (`SO_COOKIE`).
    pub socket: u64,
    /// The cookie of the socket's network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// Always zero.
    pub spare: [u64; 2],
}

impl Origin {
    /// The only version so far.
    pub const VERSION: u8 = 1;
}

/// Two 32-bit fields as the 64-bit word they form in memory, on either byte order.
#[inline(always)]
const fn word(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The inverse of [`word`].
#[inline(always)]
const fn halves(bits: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = bits.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

/// Bytes in the value of `lb_names`: `namespace/name:port/protocol` at its longest
/// (63 + 63 + 15 + 3 and three separators, RFC 1123 and RFC 6335), in UTF-8, filled with zeros.
pub const NAME_LEN: usize = 152;

const _: () = {
    assert!(size_of::<FrontendKey4>() == 8 && align_of::<FrontendKey4>() == 2);
    assert!(offset_of!(FrontendKey4, port) == 4 && offset_of!(FrontendKey4, protocol) == 6);
    assert!(size_of::<FrontendValue>() == 8 && align_of::<FrontendValue>() == 8);
    assert!(offset_of!(FrontendValue, tag) == 4);
    assert!(size_of::<Range>() == 8 && align_of::<Range>() == 8);
    assert!(offset_of!(Range, count) == 4);
    assert!(size_of::<Service>() == 16 && align_of::<Service>() == 8);
    assert!(offset_of!(Service, range) == 0 && offset_of!(Service, id) == 8);
    assert!(size_of::<Backend4>() == 16 && align_of::<Backend4>() == 8);
    assert!(offset_of!(Backend4, port) == 4 && offset_of!(Backend4, flags) == 6);
    assert!(offset_of!(Backend4, id) == 8);
    assert!(size_of::<Origin>() == 80 && align_of::<Origin>() == 8);
    assert!(offset_of!(Origin, frontend_port) == 4 && offset_of!(Origin, backend_port) == 6);
    assert!(offset_of!(Origin, frontend) == 8 && offset_of!(Origin, backend) == 24);
    assert!(offset_of!(Origin, service) == 40 && offset_of!(Origin, backend_id) == 44);
    assert!(offset_of!(Origin, socket) == 48 && offset_of!(Origin, netns) == 56);
    assert!(
        FrontendValue { slot: 1, tag: 2 }.to_bits() != FrontendValue { slot: 2, tag: 1 }.to_bits()
    );
};
