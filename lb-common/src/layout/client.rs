//! `lb_affinity`: which backend a client has.
//!
//! Entries outlive a generation of tables, and the next one compares sizes alone: no field may come
//! to mean something else in its place.

use core::mem::{align_of, offset_of, size_of};

/// Key of `lb_affinity`: a client and a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct AffinityKey {
    /// The client: its network namespace's cookie (SO_NETNS_COOKIE).
    pub client: u64,
    /// [`super::Service::id`].
    pub service: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Value of `lb_affinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Affinity {
    /// When the client last connected: nanoseconds since boot, suspension included
    /// (CLOCK_BOOTTIME).
    pub used: u64,
    /// [`super::Backend4::id`] of its backend.
    pub backend: u32,
    /// Where the backend stood in its range then.
    pub hint: u32,
}

const _: () = {
    assert!(size_of::<AffinityKey>() == 16 && align_of::<AffinityKey>() == 8);
    assert!(offset_of!(AffinityKey, service) == 8);
    assert!(size_of::<Affinity>() == 16 && align_of::<Affinity>() == 8);
    assert!(offset_of!(Affinity, backend) == 8 && offset_of!(Affinity, hint) == 12);
};
