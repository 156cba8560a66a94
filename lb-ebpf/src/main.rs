//! socklb's BPF programs: a thin entry point for each cgroup hook, on tables that the agent fills.
//!
//! ```text
//!  connect4/6       a Service's address becomes a backend's          writes lb_origins
//!  sendmsg4/6       the same for each datagram of an unconnected     writes lb_udp_origins
//!                   UDP socket
//!  recvmsg4/6       the source of a datagram becomes the Service's   reads both
//!  getpeername4/6   the peer becomes the Service's                   reads lb_origins
//!  post_bind4/6     keeps served node ports free
//!  origins(_udp)    iterators: write out lb_origins, of all sockets or UDP's, to find those to close
//! ```
//!
//! The programs must never decide anything themselves: `lb_common` does, and only what needs the
//! kernel (maps, contexts, helpers) stands here. Needs Linux 5.10 with BTF.
#![no_std]
#![no_main]
// The BPF target has an atomic add but no compare-and-swap, so `AtomicU64` offers no `fetch_add`.
#![feature(core_intrinsics)]
#![expect(internal_features)]
#![allow(unsafe_code)]

mod address;
mod bind;
mod client;
mod connect;
mod counters;
mod getpeername;
mod origins;
mod origins_iter;
mod peers;
mod recvmsg;
mod sendmsg;
mod tables;
mod verdict;

/// Declares the license to the kernel, which refuses some helpers and iterators to others.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
