//! The few `bpf(2)` calls that aya does not offer, each as one safe function.
//!
//! Nothing here interprets a map's content or keeps state. Everything works on kernel 5.9 and up.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_long},
    io, mem,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::Pod;
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_map_type};

/// The part of `bpf_iter_link_info` that names a map. Kernels take shorter ones than their own.
#[repr(C)]
struct IteratedMap {
    map_fd: u32,
}

/// Sets many elements of a hash, or replaces them. On failure says how many were set before.
///
/// `BPF_MAP_UPDATE_BATCH`, kernel 5.6. The kernel takes no `BPF_NOEXIST` here.
pub(crate) fn update_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> Result<(), (usize, io::Error)> {
    assert_eq!(keys.len(), values.len());
    batch(bpf_cmd::BPF_MAP_UPDATE_BATCH, map, keys, values.as_ptr() as u64)
}

/// Deletes many elements of a hash. On failure says how many were deleted before.
///
/// `BPF_MAP_DELETE_BATCH`, kernel 5.6.
pub(crate) fn delete_batch<K: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
) -> Result<(), (usize, io::Error)> {
    batch(bpf_cmd::BPF_MAP_DELETE_BATCH, map, keys, 0)
}

fn batch<K: Pod>(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    keys: &[K],
    values: u64,
) -> Result<(), (usize, io::Error)> {
    if keys.is_empty() {
        return Ok(());
    }
    let count = u32::try_from(keys.len()).expect("a map has at most 2³² entries");
    let mut attr = zeroed();
    attr.batch.map_fd = fd(map);
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values;
    attr.batch.count = count;
    // SAFETY: keys, and values where there are any, hold `count` elements of the map's sizes (the
    // callers' types are its BTF types) and outlive the call, which only reads them.
    match unsafe { bpf(command, &mut attr) } {
        Ok(_) => Ok(()),
        Err(error) => {
            // SAFETY: all fields of the union are plain integers.
            let done = unsafe { attr.batch.count };
            // The kernel leaves here how many it has done, unless it gave up before the first:
            // then the number is what it was, or zero, depending on its version.
            Err((if done < count { done as usize } else { 0 }, error))
        }
    }
}

/// Makes a nameless map of 4-byte keys and 4-byte values with one entry: an array, or, around
/// `inner`, an array of maps (kernel 4.12).
pub(crate) fn create_array(inner: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let kind = match inner {
        None => bpf_map_type::BPF_MAP_TYPE_ARRAY,
        Some(_) => bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS,
    };
    let mut attr = zeroed();
    attr.__bindgen_anon_1.map_type = kind as u32;
    attr.__bindgen_anon_1.key_size = 4;
    attr.__bindgen_anon_1.value_size = 4;
    attr.__bindgen_anon_1.max_entries = 1;
    attr.__bindgen_anon_1.inner_map_fd = inner.map_or(0, fd);
    // SAFETY: the attribute holds no pointers.
    let created = unsafe { bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr) }?;
    Ok(own(created))
}

/// Puts `inner` into the only entry of an array of maps. The kernel returns after every BPF
/// program that was running has ended (`maybe_wait_bpf_programs()` in kernel/bpf/syscall.c, since
/// kernel 5.0).
pub(crate) fn replace_inner(outer: BorrowedFd<'_>, inner: BorrowedFd<'_>) -> io::Result<()> {
    let (key, value) = (0u32, fd(inner));
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = fd(outer);
    attr.__bindgen_anon_2.key = &raw const key as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = &raw const value as u64;
    // SAFETY: key and value are 4 bytes, as the map was made, and outlive the call.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Attaches a program to a cgroup's hook by a link: it stays attached while the link has a
/// descriptor or a pin. Other programs on the same hook stay.
///
/// `BPF_LINK_CREATE`, for cgroups kernel 5.7.
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    hook: bpf_attach_type,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = fd(program);
    attr.link_create.__bindgen_anon_2.target_fd = fd(cgroup);
    attr.link_create.attach_type = hook as u32;
    // SAFETY: the attribute holds no pointers.
    let created = unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr) }?;
    Ok(own(created))
}

/// Makes a link of an iterator program to the map that it goes over.
///
/// `BPF_LINK_CREATE`, for iterators kernel 5.8, for those over socket storage 5.9.
pub(crate) fn link_iterator(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = IteratedMap { map_fd: fd(map) };
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = fd(program);
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    attr.link_create.__bindgen_anon_3.__bindgen_anon_1.iter_info = &raw const info as u64;
    attr.link_create.__bindgen_anon_3.__bindgen_anon_1.iter_info_len =
        size_of::<IteratedMap>() as u32;
    // SAFETY: `info` is as long as stated and outlives the call, which only reads it.
    let created = unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr) }?;
    Ok(own(created))
}

/// Starts one pass of an iterator: what its program writes can be read from the descriptor.
///
/// `BPF_ITER_CREATE`, kernel 5.8.
pub(crate) fn start_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.iter_create.link_fd = fd(link);
    // SAFETY: the attribute holds no pointers.
    let created = unsafe { bpf(bpf_cmd::BPF_ITER_CREATE, &mut attr) }?;
    Ok(own(created))
}

/// The values that stand one after the other in `bytes`. A rest that is too short is left out.
pub(crate) fn values<T: Pod>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.chunks_exact(size_of::<T>()).map(|chunk| {
        // SAFETY: the chunk is as long as a value, and any bits are one.
        unsafe { chunk.as_ptr().cast::<T>().read_unaligned() }
    })
}

/// Gives a map, program or link a name on a bpf filesystem, which keeps it alive.
///
/// `BPF_OBJ_PIN`, kernel 4.4.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = fd(object);
    // SAFETY: the path ends with a zero and outlives the call.
    unsafe { bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens what [`pin`] gave a name.
///
/// `BPF_OBJ_GET`, kernel 4.4.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path ends with a zero and outlives the call.
    let opened = unsafe { bpf(bpf_cmd::BPF_OBJ_GET, &mut attr) }?;
    Ok(own(opened))
}

/// Replaces the program of an attached link in one step: every run uses the old or the new one.
///
/// `BPF_LINK_UPDATE`, for cgroup links kernel 5.7.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = fd(link);
    attr.link_update.__bindgen_anon_1.new_prog_fd = fd(program);
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// Detaches a link's program at once. Without this it stays until the kernel has released the last
/// descriptor and pin, some time after they went.
///
/// `BPF_LINK_DETACH`, kernel 5.9.
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = fd(link);
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr) }.map(drop)
}

/// The id of the cgroup that a link is attached to: the inode number of its directory. Zero once
/// the cgroup is gone.
///
/// `BPF_OBJ_GET_INFO_BY_FD` on links, kernel 5.8.
pub(crate) fn link_cgroup(link: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: all zeros are a valid value of this struct of integers.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = fd(link);
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    // SAFETY: `info` is as long as stated and outlives the call.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    // SAFETY: socklb pins nothing but cgroup links, and all fields are plain integers.
    Ok(unsafe { info.__bindgen_anon_1.cgroup.cgroup_id })
}

fn zeroed() -> bpf_attr {
    // SAFETY: all zeros are a valid value of this union of integers, and what the kernel asks for
    // in fields that a command does not use.
    unsafe { mem::zeroed() }
}

/// The descriptor that a command returned.
fn own(result: c_long) -> OwnedFd {
    // SAFETY: the callers pass what a successful command returned, which is a new descriptor that
    // nobody else owns.
    unsafe { OwnedFd::from_raw_fd(result as RawFd) }
}

fn fd(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Makes the system call.
///
/// # Safety
///
/// Every pointer in the attribute must be valid for what the command does with it.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<c_long> {
    // SAFETY: the attribute is as long as stated; the caller vouches for the pointers in it.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as u32, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
