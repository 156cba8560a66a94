//! `lb_udp_origins`: the Services that an unconnected UDP socket talks to, kept with the socket.
//!
//! `lb_common::peers` is what is done with them. sendmsg and recvmsg both run under the socket's
//! lock, so neither sees an entry that the other is writing.

use aya_ebpf::{btf_maps::SkStorage, macros::btf_map, programs::SockAddrContext};
use lb_common::UdpOrigins;

#[btf_map(name = "lb_udp_origins")]
static UDP_ORIGINS: SkStorage<UdpOrigins> = SkStorage::new();

/// What is known of a socket, if anything.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the storage is the socket's, not the context's")]
pub(crate) fn get(ctx: &SockAddrContext) -> Option<&mut UdpOrigins> {
    // SAFETY: the storage is as large as the value and lives as long as the socket, whose lock the
    // hooks hold.
    unsafe { UDP_ORIGINS.get_ptr_mut(ctx).as_mut() }
}

/// The same; makes room if nothing is known. `None` if the kernel has no room.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the storage is the socket's, not the context's")]
pub(crate) fn get_or_make(ctx: &SockAddrContext) -> Option<&mut UdpOrigins> {
    // SAFETY: as above.
    unsafe { UDP_ORIGINS.get_or_insert_ptr_mut(ctx, None).as_mut() }
}
