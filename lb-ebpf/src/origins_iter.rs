//! Writes out the origins of all sockets, whatever network namespace they are in, for the agent to
//! find those that are connected to a backend that is gone.
//!
//! An iterator on `lb_origins` (`iter/bpf_sk_storage_map`, kernel 5.9): the kernel calls the program
//! once for each socket that has an origin, when the agent reads from the iterator's descriptor. It
//! must never write to an origin.

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use lb_common::layout::{ORIGIN_VERSION, Origin};

const IPPROTO_UDP: u8 = 17;

/// `struct bpf_iter_meta`, which all iterators share (include/linux/bpf.h).
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
    session: u64,
    sequence: u64,
}

/// `struct bpf_iter__bpf_sk_storage_map` (net/core/bpf_sk_storage.c).
#[repr(C)]
struct Context {
    meta: *const Meta,
    map: *const (),
    socket: *const (),
    value: *const Origin,
}

/// Every origin that holds, as it is in the map.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn origins(ctx: *const Context) -> i32 {
    write(ctx, |_| true)
}

/// The origins of UDP sockets alone, so that the agent need not read past those of all TCP
/// connections.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn origins_udp(ctx: *const Context) -> i32 {
    write(ctx, |origin| origin.protocol == IPPROTO_UDP)
}

#[inline(always)]
fn write(ctx: *const Context, wanted: impl FnOnce(&Origin) -> bool) -> i32 {
    // SAFETY: the kernel hands every run a valid context, for that run alone.
    let Context { meta, value, .. } = unsafe { ctx.read() };
    // The kernel makes one more call, without a socket, after the last.
    // SAFETY: where it is not null, it is the value of a socket that the kernel holds on to, as
    // large as the map's values. Hooks may write it meanwhile: the agent compares every origin
    // with its socket.
    let Some(origin) = (unsafe { value.as_ref() }) else { return 0 };
    if origin.version == ORIGIN_VERSION && wanted(origin) {
        // SAFETY: the buffer is the one of the read that this run is for. If it is full, the
        // kernel calls again for this socket with an empty one.
        unsafe { bpf_seq_write((*meta).seq, value.cast(), size_of::<Origin>() as u32) };
    }
    0
}
