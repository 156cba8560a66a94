//! `lb_origins`: where a connected socket wanted to go, kept with the socket.
//!
//! The agent's later generations read what is written here, so the layout is frozen. The hooks that
//! call this hold the socket's lock, or nobody else has the socket yet.

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::SkStorage,
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::btf_map,
    programs::SockAddrContext,
};
use lb_common::{Counter, Origin, Place, layout::ORIGIN_VERSION};

use crate::counters::count;

#[btf_map(name = "lb_origins")]
static ORIGINS: SkStorage<Origin> = SkStorage::new();

/// What connect remembers.
pub(crate) struct Noted<'a> {
    pub(crate) protocol: u8,
    pub(crate) frontend: &'a Place,
    pub(crate) backend: &'a Place,
    pub(crate) service: u32,
    pub(crate) backend_id: u32,
}

/// Remembers where the socket wanted to go. If the kernel has no room for that, the connect goes on,
/// and the socket sees the backend's address.
#[inline(always)]
pub(crate) fn note(ctx: &SockAddrContext, noted: &Noted<'_>) {
    // SAFETY: the context's socket is one that the verifier knows.
    let origin = unsafe { ORIGINS.get_or_insert_ptr_mut(ctx, None) };
    if origin.is_null() {
        count(Counter::Untold);
        return;
    }
    // SAFETY: the storage is as large as the value and lives as long as the socket.
    unsafe {
        (*origin).version = ORIGIN_VERSION;
        (*origin).protocol = noted.protocol;
        (*origin).frontend_port = noted.frontend.port;
        (*origin).backend_port = noted.backend.port;
        (*origin).frontend = noted.frontend.address;
        (*origin).backend = noted.backend.address;
        (*origin).service = noted.service;
        (*origin).backend_id = noted.backend_id;
        (*origin).socket = bpf_get_socket_cookie(ctx.as_ptr());
        (*origin).netns = bpf_get_netns_cookie(ctx.as_ptr());
    }
}

/// Forgets where the socket wanted to go, since it connects elsewhere.
#[inline(always)]
pub(crate) fn forget(ctx: &SockAddrContext) {
    // SAFETY: as in `note`.
    unsafe {
        let origin = ORIGINS.get_ptr_mut(ctx);
        if !origin.is_null() {
            (*origin).version = 0;
        }
    }
}

/// The frontend that the socket was connected to, if `backend` is where it was sent.
#[inline(always)]
pub(crate) fn frontend_of(ctx: &SockAddrContext, backend: &Place) -> Option<Place> {
    let origin = get(ctx)?;
    backend
        .is(origin.backend, origin.backend_port)
        .then_some(Place { address: origin.frontend, port: origin.frontend_port })
}

/// Where the socket was sent, and what it had connected to.
#[inline(always)]
pub(crate) fn get(ctx: &SockAddrContext) -> Option<&Origin> {
    // SAFETY: as in `note`. The reference does not outlive the run, within which nobody writes.
    let origin = unsafe { ORIGINS.get_ptr_mut(ctx).as_ref()? };
    (origin.version == ORIGIN_VERSION).then_some(origin)
}
