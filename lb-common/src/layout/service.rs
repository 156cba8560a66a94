//! `lb_services`, `lb_backends4` and `lb_backends6`: what a slot leads to.
//!
//! No field of a slot may reach over two of its words: each is stored by itself, and a reader may
//! see any mix of old and new ones.

use core::mem::{align_of, offset_of, size_of};

use super::{halves, word};

/// Where a service's backends stand in the table of its family: the word that publication stores at
/// once.
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

    /// A frontend that went away while its key is still listed: as if the key were gone.
    pub const GONE: Self = Self { first: u32::MAX, count: 0 };

    /// A frontend that is known but left to others: connects pass untouched, and are not refused
    /// either.
    pub const PASS: Self = Self { first: u32::MAX - 1, count: 0 };

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

/// In [`Service::flags`]: the frontend exists for sockets in the host's network namespace only.
pub const HOST_ONLY: u32 = 1;

/// Entry of `lb_services`, indexed by slot. Three words, each stored and loaded in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Service {
    /// The backends, in the table of the frontend's family.
    pub range: Range,
    /// Names the Service port in its family: key into `lb_names`, and of [`super::AffinityKey`].
    /// Frontends of one port share it. Never reused.
    pub id: u32,
    /// Seconds that a client stays with its backend after its last connect; 0: it does not.
    pub affinity: u32,
    /// [`HOST_ONLY`] or nothing.
    pub flags: u32,
    /// Whose slot this is: the digest of the frontend's key, as in [`super::FrontendValue`].
    pub tag: u32,
}

impl Service {
    /// The word that holds id and affinity.
    #[inline(always)]
    pub const fn identity(id: u32, affinity: u32) -> u64 {
        word(id, affinity)
    }

    /// Id and affinity from [`Self::identity`].
    #[inline(always)]
    pub const fn from_identity(bits: u64) -> (u32, u32) {
        halves(bits)
    }

    /// The word that holds flags and tag.
    #[inline(always)]
    pub const fn traits(flags: u32, tag: u32) -> u64 {
        word(flags, tag)
    }

    /// Flags and tag from [`Self::traits`].
    #[inline(always)]
    pub const fn from_traits(bits: u64) -> (u32, u32) {
        halves(bits)
    }
}

/// Entry of `lb_backends4`. The entries of one range are sorted by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Backend4 {
    /// IPv4 address, in network byte order as its four octets.
    pub address: [u8; 4],
    /// Port in host byte order.
    pub port: u16,
    /// Always zero.
    pub flags: u16,
    /// Names this backend of this Service port. Never reused.
    pub id: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Entry of `lb_backends6`. The entries of one range are sorted by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Backend6 {
    /// IPv6 address, in network byte order.
    pub address: [u8; 16],
    /// Port in host byte order.
    pub port: u16,
    /// Always zero.
    pub flags: u16,
    /// As [`Backend4::id`].
    pub id: u32,
}

const _: () = {
    assert!(size_of::<Range>() == 8 && align_of::<Range>() == 8);
    assert!(offset_of!(Range, count) == 4);
    assert!(size_of::<Service>() == 24 && align_of::<Service>() == 8);
    assert!(offset_of!(Service, range) == 0 && offset_of!(Service, id) == 8);
    assert!(offset_of!(Service, affinity) == 12 && offset_of!(Service, flags) == 16);
    assert!(offset_of!(Service, tag) == 20);
    assert!(size_of::<Backend4>() == 16 && align_of::<Backend4>() == 8);
    assert!(offset_of!(Backend4, port) == 4 && offset_of!(Backend4, flags) == 6);
    assert!(offset_of!(Backend4, id) == 8);
    assert!(size_of::<Backend6>() == 24 && align_of::<Backend6>() == 8);
    assert!(offset_of!(Backend6, port) == 16 && offset_of!(Backend6, flags) == 18);
    assert!(offset_of!(Backend6, id) == 20);
};
