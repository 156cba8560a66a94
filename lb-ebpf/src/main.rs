//! socklb's BPF programs: a thin entry point for each cgroup hook, on tables that the agent fills.
//!
//! The programs must never decide anything themselves: `lb_common::select` does, and only what
//! needs the kernel (maps, contexts, helpers) stands here. Needs Linux 5.10 with BTF.
#![no_std]
#![no_main]
// The BPF target has an atomic add but no compare-and-swap, so `AtomicU64` offers no `fetch_add`.
#![feature(core_intrinsics)]
#![expect(internal_features)]
#![allow(unsafe_code)]

mod connect;
mod counters;
mod origins;
mod origins_iter;
mod tables;

/// Declares the license to the kernel, which refuses some helpers to others.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
