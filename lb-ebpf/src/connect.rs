//! `connect()`: rewrites a Service's address to one backend's, and remembers the Service's.
//!
//! The hooks run in the context of the caller, under the socket's lock and RCU, before the kernel
//! looks for a route (`tcp_v4_pre_connect()` in net/ipv4/tcp_ipv4.c and its sisters, kernel 4.17).
//! They must never touch a destination that is no frontend. An IPv4-mapped destination of an
//! AF_INET6 socket arrives at connect6, and is treated as IPv4.

use aya_ebpf::{Global, macros::cgroup_sock_addr, programs::SockAddrContext};
use lb_common::{
    Counter, Family, FrontendKey4, FrontendKey6, Octets, Place, Selected, Selection, Tables, V4,
    V6, select,
};

use crate::{
    address::{Address, TCP, UDP},
    client::Caller,
    counters::count,
    origins::{self, Noted},
    tables::Maps,
    verdict::{ALLOW, ECONNREFUSED, refuse},
};

/// Not zero if TCP sockets are to remember where they wanted to go. UDP sockets always do. The
/// loader sets it.
#[unsafe(no_mangle)]
static NOTE_TCP: Global<u8> = Global::new(1);

/// BPF_CGROUP_INET4_CONNECT.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    let protocol = ctx.protocol();
    if protocol != TCP && protocol != UDP {
        return ALLOW;
    }
    let frontend = ctx.place4();
    let [.., last] = frontend.address.words;
    let key = FrontendKey4::new(last.to_ne_bytes(), frontend.port, protocol as u8);
    connect::<V4>(&ctx, &key, &frontend, place4, SockAddrContext::set_place4)
}

/// BPF_CGROUP_INET6_CONNECT.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    let protocol = ctx.protocol();
    if protocol != TCP && protocol != UDP {
        return ALLOW;
    }
    let frontend = ctx.place6();
    if let Some(octets) = frontend.address.as_v4() {
        let key = FrontendKey4::new(octets, frontend.port, protocol as u8);
        connect::<V4>(&ctx, &key, &frontend, place4, SockAddrContext::set_place6)
    } else {
        let key = FrontendKey6::new(frontend.address.octets(), frontend.port, protocol as u8);
        connect::<V6>(&ctx, &key, &frontend, place6, SockAddrContext::set_place6)
    }
}

/// Where a backend is.
#[inline(always)]
pub(crate) fn place4(selected: &Selected<<V4 as Family>::Backend>) -> Place {
    Place { address: Octets::v4(selected.backend.address), port: selected.backend.port }
}

/// Where a backend is.
#[inline(always)]
pub(crate) fn place6(selected: &Selected<<V6 as Family>::Backend>) -> Place {
    Place { address: Octets::v6(selected.backend.address), port: selected.backend.port }
}

#[inline(always)]
fn connect<F: Family>(
    ctx: &SockAddrContext,
    key: &F::Key,
    frontend: &Place,
    place: impl FnOnce(&Selected<F::Backend>) -> Place,
    rewrite: impl FnOnce(&SockAddrContext, &Place),
) -> i32
where
    Maps: Tables<F>,
{
    match select::<F, _, _>(&Maps, &Caller(ctx), key, None) {
        Selection::Backend(selected) => {
            let backend = place(&selected);
            rewrite(ctx, &backend);
            count(Counter::Translated);
            let protocol = ctx.protocol();
            if protocol == UDP || NOTE_TCP.load() != 0 {
                let (service, backend_id) = (selected.service, F::id(&selected.backend));
                let protocol = protocol as u8;
                origins::note(
                    ctx,
                    &Noted { protocol, frontend, backend: &backend, service, backend_id },
                );
            }
            ALLOW
        }
        Selection::NotAFrontend => pass(ctx),
        Selection::Unsettled => {
            count(Counter::Unsettled);
            pass(ctx)
        }
        Selection::NoBackend => refuse(Counter::NoBackend, ECONNREFUSED),
        Selection::Unserved => refuse(Counter::Unserved, ECONNREFUSED),
        Selection::Corrupt => refuse(Counter::Corrupt, ECONNREFUSED),
    }
}

/// A socket that connects elsewhere tells the truth from here on.
#[inline(always)]
fn pass(ctx: &SockAddrContext) -> i32 {
    origins::forget(ctx);
    ALLOW
}
