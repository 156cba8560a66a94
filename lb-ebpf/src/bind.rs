//! `bind()`: keeps the node ports that are served free in the host's network namespace, since a
//! process that had one would never be reached from this node.
//!
//! The hooks run after the kernel has found the port free (`__inet_bind()` in net/ipv4/af_inet.c,
//! kernel 4.17), also when it chose the port itself. A port is refused where the socket would have
//! it on an address that is served: on every address, or on one that is a frontend.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, bpf_sock},
    btf_maps::Array,
    macros::{btf_map, cgroup_sock},
    programs::SockContext,
};
use lb_common::{
    Client as _, Counter, Family, FrontendKey4, FrontendKey6, Octets, Tables, V4, V6,
    layout::{NODE_PORT_WORDS, node_port_bit},
};

use crate::{
    address::{TCP, UDP},
    client::{Caller, protects_node_ports},
    tables::Maps,
    verdict::{ALLOW, EADDRINUSE, refuse},
};

#[btf_map(name = "lb_node_ports")]
static NODE_PORTS: Array<u64, NODE_PORT_WORDS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// BPF_CGROUP_INET4_POST_BIND.
#[cgroup_sock(post_bind4)]
pub(crate) fn post_bind4(ctx: SockContext) -> i32 {
    let Some((protocol, port)) = node_port(&ctx) else { return ALLOW };
    // SAFETY: the kernel hands every run a valid bpf_sock, for that run alone.
    let address = unsafe { (&raw const (*ctx.sock).src_ip4).read_volatile() };
    let key = FrontendKey4::new(address.to_ne_bytes(), port, protocol);
    judge::<V4>(address == 0, &key)
}

/// BPF_CGROUP_INET6_POST_BIND.
#[cgroup_sock(post_bind6)]
pub(crate) fn post_bind6(ctx: SockContext) -> i32 {
    let Some((protocol, port)) = node_port(&ctx) else { return ALLOW };
    // SAFETY: as above; one word at a time, as the verifier wants it.
    let words = unsafe {
        let word = &raw const (*ctx.sock).src_ip6 as *const u32;
        [
            word.read_volatile(),
            word.add(1).read_volatile(),
            word.add(2).read_volatile(),
            word.add(3).read_volatile(),
        ]
    };
    let address = Octets { words };
    if let Some(octets) = address.as_v4() {
        judge::<V4>(octets == [0; 4], &FrontendKey4::new(octets, port, protocol))
    } else {
        judge::<V6>(words == [0; 4], &FrontendKey6::new(address.octets(), port, protocol))
    }
}

/// Protocol and port of a bind that may have to be refused: one to a served node port in the host's
/// network namespace.
#[inline(always)]
fn node_port(ctx: &SockContext) -> Option<(u8, u16)> {
    if !protects_node_ports() {
        return None;
    }
    let socket: *const bpf_sock = ctx.sock;
    // SAFETY: as above. The port is in host byte order here.
    let (protocol, port) = unsafe {
        (
            (&raw const (*socket).protocol).read_volatile(),
            (&raw const (*socket).src_port).read_volatile() as u16,
        )
    };
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let (word, bit) = node_port_bit(protocol as u8, port);
    // SAFETY: array elements live as long as the map and are aligned to 8.
    let bits = unsafe { NODE_PORTS.get_ptr(word)?.read_volatile() };
    let caller = Caller(ctx);
    (bits & bit != 0 && caller.netns() == caller.host()).then_some((protocol as u8, port))
}

#[inline(always)]
fn judge<F: Family>(everywhere: bool, key: &F::Key) -> i32
where
    Maps: Tables<F>,
{
    if everywhere || Maps.frontend(key).is_some() {
        refuse(Counter::PortTaken, EADDRINUSE)
    } else {
        ALLOW
    }
}
