//! `sendto()` and `sendmsg()` with an address on a UDP socket: rewrites a Service's address to the
//! backend that the socket's earlier datagrams went to, while that is eligible.
//!
//! The hooks run under the socket's lock (`udp_sendmsg()` in net/ipv4/udp.c, kernel 4.18) for every
//! datagram that names its destination, so whatever they do is everyone's cost. On an AF_INET6
//! socket, datagrams to IPv4 arrive at sendmsg4, as do those of plain `send()` if it is connected to
//! an IPv4 peer; then the address is the backend's already. Other datagrams of a connected socket
//! that bring control data instead of a name arrive with no address and port 0, which no name may
//! have (EINVAL). UDP-Lite's datagrams arrive here too, as long as the kernel has it.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use lb_common::{
    Counter, Earlier, Family, FrontendKey4, FrontendKey6, Place, Selected, Selection, Tables, V4,
    V6, select, select::stays,
};

use crate::{
    address::{Address, UDP},
    client::Caller,
    connect::{place4, place6},
    counters::count,
    origins, peers,
    tables::Maps,
    verdict::{ALLOW, ECONNREFUSED, refuse},
};

/// BPF_CGROUP_UDP4_SENDMSG.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(ctx: SockAddrContext) -> i32 {
    if ctx.protocol() != UDP {
        return ALLOW;
    }
    let frontend = ctx.place4();
    let [.., last] = frontend.address.words;
    let key = FrontendKey4::new(last.to_ne_bytes(), frontend.port, UDP as u8);
    send::<V4>(&ctx, &key, &frontend, ctx.peer4(), place4, SockAddrContext::set_place4)
}

/// BPF_CGROUP_UDP6_SENDMSG.
#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(ctx: SockAddrContext) -> i32 {
    if ctx.protocol() != UDP {
        return ALLOW;
    }
    let frontend = ctx.place6();
    let key = FrontendKey6::new(frontend.address.octets(), frontend.port, UDP as u8);
    send::<V6>(&ctx, &key, &frontend, ctx.peer6(), place6, SockAddrContext::set_place6)
}

#[inline(always)]
fn send<F: Family>(
    ctx: &SockAddrContext,
    key: &F::Key,
    frontend: &Place,
    peer: Option<Place>,
    place: impl FnOnce(&Selected<F::Backend>) -> Place,
    rewrite: impl Fn(&SockAddrContext, &Place),
) -> i32
where
    Maps: Tables<F>,
{
    if frontend.port == 0 {
        return ALLOW;
    }
    if let Some(peer) = peer {
        // A connected socket hears its peer alone, be it a backend, or a Service's address that it
        // was connected to before that was served here.
        if frontend.is(peer.address, peer.port) {
            return ALLOW;
        }
        if let Some(origin) = origins::get(ctx)
            && frontend.is(origin.frontend, origin.frontend_port)
            && peer.is(origin.backend, origin.backend_port)
        {
            rewrite(ctx, &peer);
            return ALLOW;
        }
    }
    let client = Caller(ctx);
    let mut earlier = None;
    if let Some(known) = peers::get(ctx)
        && let Some(peer) = known.recall(frontend)
    {
        let backend = Place { address: peer.backend, port: peer.backend_port };
        let before = Earlier { backend: peer.backend_id, hint: peer.hint };
        if let Some(position) = stays::<F, _, _>(&Maps, &client, key, peer.slot, before) {
            if position != peer.hint {
                peer.hint = position;
            }
            rewrite(ctx, &backend);
            return ALLOW;
        }
        earlier = Some(before);
    }
    match select::<F, _, _>(&Maps, &client, key, earlier) {
        Selection::Backend(selected) => {
            let backend = place(&selected);
            rewrite(ctx, &backend);
            count(Counter::Translated);
            let chosen = Earlier { backend: F::id(&selected.backend), hint: selected.position };
            match peers::get_or_make(ctx) {
                Some(known) => known.note(frontend, &backend, selected.slot, chosen),
                None => count(Counter::Untold),
            }
            ALLOW
        }
        Selection::NotAFrontend => ALLOW,
        Selection::Unsettled => {
            count(Counter::Unsettled);
            ALLOW
        }
        Selection::NoBackend => refuse(Counter::NoBackend, ECONNREFUSED),
        Selection::Unserved => refuse(Counter::Unserved, ECONNREFUSED),
        Selection::Corrupt => refuse(Counter::Corrupt, ECONNREFUSED),
    }
}
