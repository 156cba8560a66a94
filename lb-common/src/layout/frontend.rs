//! `lb_frontends4` and `lb_frontends6`: which slot an address and port have.
//!
//! The value must never be wider than one word of 8 bytes: readers load it in one go, and tell by
//! its tag whether it is still their key's.

use core::mem::{align_of, offset_of, size_of};

use super::{halves, word};

/// The protocol of a key that stands for an address as a whole, with port 0: a ClusterIP that is
/// known and not served here, so that it is never refused as one that nobody has.
pub const PROTOCOL_ANY: u8 = 0;

/// Key of `lb_frontends4`: one address and port that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C, align(4))]
pub struct FrontendKey4 {
    /// IPv4 address, in network byte order as its four octets.
    pub address: [u8; 4],
    /// Port in host byte order.
    pub port: u16,
    /// IANA protocol number: 6 for TCP, 17 for UDP; or [`PROTOCOL_ANY`].
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
        (bits.wrapping_mul(GOLDEN) >> 32) as u32
    }
}

/// Key of `lb_frontends6`: one address and port that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C, align(4))]
pub struct FrontendKey6 {
    /// IPv6 address, in network byte order. Never an IPv4-mapped one.
    pub address: [u8; 16],
    /// Port in host byte order.
    pub port: u16,
    /// As [`FrontendKey4::protocol`].
    pub protocol: u8,
    /// Always zero.
    pub reserved: u8,
}

impl FrontendKey6 {
    /// As [`FrontendKey4::new`].
    #[inline(always)]
    pub const fn new(address: [u8; 16], port: u16, protocol: u8) -> Self {
        Self { address, port, protocol, reserved: 0 }
    }

    /// As [`FrontendKey4::tag`]. 160 bits cannot be mapped one to one, but each step is a bijection
    /// of what it takes in, and keys that differ in one word never share more than the shift loses.
    #[inline(always)]
    pub const fn tag(&self) -> u32 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.address;
        let high = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let low = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
        let place = self.port as u64 | (self.protocol as u64) << 16;
        let mut bits = high.wrapping_mul(GOLDEN);
        bits = (bits ^ bits >> 32 ^ low).wrapping_mul(GOLDEN);
        bits = (bits ^ bits >> 32 ^ place).wrapping_mul(GOLDEN);
        (bits >> 32) as u32
    }
}

/// 2⁶⁴ divided by the golden ratio, odd: spreads what it multiplies over all high bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Value of `lb_frontends4` and `lb_frontends6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct FrontendValue {
    /// Index into `lb_services`.
    pub slot: u32,
    /// The digest of the key that this value belongs to.
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

const _: () = {
    assert!(size_of::<FrontendKey4>() == 8 && align_of::<FrontendKey4>() == 4);
    assert!(offset_of!(FrontendKey4, port) == 4 && offset_of!(FrontendKey4, protocol) == 6);
    assert!(size_of::<FrontendKey6>() == 20 && align_of::<FrontendKey6>() == 4);
    assert!(offset_of!(FrontendKey6, port) == 16 && offset_of!(FrontendKey6, protocol) == 18);
    assert!(size_of::<FrontendValue>() == 8 && align_of::<FrontendValue>() == 8);
    assert!(offset_of!(FrontendValue, tag) == 4);
    assert!(
        FrontendValue { slot: 1, tag: 2 }.to_bits() != FrontendValue { slot: 2, tag: 1 }.to_bits()
    );
};
