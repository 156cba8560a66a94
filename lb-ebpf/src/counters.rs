//! `lb_counters`: how often the programs decided what.
//!
//! A count must never be written but by an atomic addition: all CPUs share it.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::Counter;

#[btf_map(name = "lb_counters")]
static COUNTERS: Array<u64, { Counter::ALL.len() }> = Array::new();

/// Adds one to a counter that all CPUs share.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is to an aligned u64 that lives as long as the map, and everyone
        // who writes it does so atomically.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, 1) };
    }
}
