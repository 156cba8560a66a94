//! `connect()` on an AF_INET socket: rewrites a Service's address to one backend's.
//!
//! The hook runs in the context of the caller, under the socket's lock and RCU, before the kernel
//! looks for a route (`tcp_v4_pre_connect()` in net/ipv4/tcp_ipv4.c, kernel 4.17). It must never touch
//! a destination that is no frontend.

use aya_ebpf::{
    Global, helpers::generated::bpf_set_retval, macros::cgroup_sock_addr, programs::SockAddrContext,
};
use lb_common::{Counter, FrontendKey4, Selection, select};

use crate::{counters::count, tables::Maps};

/// What a sock_addr program returns to let the system call go on.
const ALLOW: i32 = 1;
/// What it returns to make the system call fail.
const REFUSE: i32 = 0;

const IPPROTO_TCP: u32 = 6;
const ECONNREFUSED: i32 = 111;

/// Not zero where the kernel has `bpf_set_retval` (5.18). The loader sets it; the verifier prunes
/// the call where it is zero, and the caller of `connect()` then sees EPERM.
#[unsafe(no_mangle)]
static SET_RETVAL: Global<u8> = Global::new(0);

/// BPF_CGROUP_INET4_CONNECT.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the kernel hands every run a valid bpf_sock_addr, for that run alone.
    let addr = unsafe { &mut *ctx.sock_addr };
    if addr.protocol != IPPROTO_TCP {
        return ALLOW;
    }
    // Address and port are in network byte order; the port is the low half of its word.
    let key = FrontendKey4::new(
        addr.user_ip4.to_ne_bytes(),
        u16::from_be(addr.user_port as u16),
        addr.protocol as u8,
    );
    match select(&Maps, &key) {
        Selection::NotAFrontend => ALLOW,
        Selection::Backend(backend) => {
            addr.user_ip4 = u32::from_ne_bytes(backend.address);
            addr.user_port = u32::from(backend.port.to_be());
            count(Counter::Translated);
            ALLOW
        }
        Selection::Unsettled => {
            count(Counter::Unsettled);
            ALLOW
        }
        Selection::NoBackend => refuse(Counter::NoBackend),
        Selection::Corrupt => refuse(Counter::Corrupt),
    }
}

/// Fails the connect with ECONNREFUSED, or with EPERM before kernel 5.18.
#[inline(always)]
fn refuse(why: Counter) -> i32 {
    count(why);
    if SET_RETVAL.load() != 0 {
        // SAFETY: takes a number only. The kernel has the helper, or this branch is pruned.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
    }
    REFUSE
}
