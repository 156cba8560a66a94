//! `recvfrom()` and `recvmsg()` on a UDP socket: the source of a datagram becomes the Service's
//! address, where the socket was sent from there to the backend that answers.
//!
//! The hooks run when the caller asks for the source (`udp_recvmsg()` in net/ipv4/udp.c, kernel
//! 5.2), under the socket's lock, which is taken for them. An AF_INET6 socket's datagrams from IPv4
//! arrive at recvmsg6, as mapped. They must return 1.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use lb_common::Place;

use crate::{address::Address, origins, peers, verdict::ALLOW};

/// BPF_CGROUP_UDP4_RECVMSG.
#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn recvmsg4(ctx: SockAddrContext) -> i32 {
    if let Some(frontend) = frontend_of(&ctx, &ctx.place4()) {
        ctx.set_place4(&frontend);
    }
    ALLOW
}

/// BPF_CGROUP_UDP6_RECVMSG.
#[cgroup_sock_addr(recvmsg6)]
pub(crate) fn recvmsg6(ctx: SockAddrContext) -> i32 {
    if let Some(frontend) = frontend_of(&ctx, &ctx.place6()) {
        ctx.set_place6(&frontend);
    }
    ALLOW
}

/// The Service whose backend the datagram comes from. A connected socket hears its peer alone, but
/// for what was queued before it connected; so if it connected to no Service, it is told the truth,
/// whatever it knew its peer by before.
#[inline(always)]
fn frontend_of(ctx: &SockAddrContext, source: &Place) -> Option<Place> {
    if ctx.is_connected() {
        let origin = origins::get(ctx)?;
        if source.is(origin.backend, origin.backend_port) {
            return Some(Place { address: origin.frontend, port: origin.frontend_port });
        }
    }
    peers::get(ctx)?.frontend_of(source)
}
