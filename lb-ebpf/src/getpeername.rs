//! `getpeername()`: the peer becomes the Service's address, where the socket was sent from there to
//! the backend that is its peer.
//!
//! The hooks run under the socket's lock (`inet_getname()` in net/ipv4/af_inet.c, kernel 5.8). An
//! AF_INET6 socket arrives at getpeername6, with IPv4 peers as mapped. They must return 1.

use aya_ebpf::{Global, macros::cgroup_sock_addr, programs::SockAddrContext};
use lb_common::Place;

use crate::{
    address::{Address, TCP},
    origins,
    verdict::ALLOW,
};

/// Not zero if TCP sockets are shown the Service's address: they may remember it for other reasons.
/// The loader sets it.
#[unsafe(no_mangle)]
static REVERSE_TCP: Global<u8> = Global::new(1);

/// BPF_CGROUP_INET4_GETPEERNAME.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(ctx: SockAddrContext) -> i32 {
    if let Some(frontend) = frontend_of(&ctx, &ctx.place4()) {
        ctx.set_place4(&frontend);
    }
    ALLOW
}

/// BPF_CGROUP_INET6_GETPEERNAME.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(ctx: SockAddrContext) -> i32 {
    if let Some(frontend) = frontend_of(&ctx, &ctx.place6()) {
        ctx.set_place6(&frontend);
    }
    ALLOW
}

/// The Service whose backend the peer is.
#[inline(always)]
fn frontend_of(ctx: &SockAddrContext, peer: &Place) -> Option<Place> {
    if REVERSE_TCP.load() == 0 && ctx.protocol() == TCP {
        return None;
    }
    origins::frontend_of(ctx, peer)
}
