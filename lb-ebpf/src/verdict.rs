//! What a program answers the kernel.
//!
//! `bpf_set_retval` must never be called but behind its constant: kernels without it would load no
//! program that can reach the call.

use aya_ebpf::{Global, helpers::generated::bpf_set_retval};
use lb_common::Counter;

use crate::counters::count;

/// Lets the system call go on. `recvmsg` and `getpeername` programs must return nothing else.
pub(crate) const ALLOW: i32 = 1;
/// Makes the system call fail.
const REFUSE: i32 = 0;

/// The error numbers that are the same on all architectures that Rust has a BPF agent for.
pub(crate) const ECONNREFUSED: i32 = 111;
pub(crate) const EADDRINUSE: i32 = 98;

/// Not zero where the kernel has `bpf_set_retval` (5.18). The loader sets it; the verifier prunes
/// the call where it is zero, and the caller then sees EPERM.
#[unsafe(no_mangle)]
static SET_RETVAL: Global<u8> = Global::new(0);

/// Fails the system call with `errno`, or with EPERM before kernel 5.18.
#[inline(always)]
pub(crate) fn refuse(why: Counter, errno: i32) -> i32 {
    count(why);
    if SET_RETVAL.load() != 0 {
        // SAFETY: takes a number only. The kernel has the helper, or this branch is pruned.
        unsafe { bpf_set_retval(-errno) };
    }
    REFUSE
}
