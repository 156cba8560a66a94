//! A network namespace's cookie, the number by which BPF programs and sockets name it.
//!
//! One `getsockopt(2)` that no crate offers; nothing else may stand here.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// The cookie of the network namespace that a socket belongs to: the same number that
/// `bpf_get_netns_cookie` yields. Never reused while the machine runs.
///
/// `SO_NETNS_COOKIE`, kernel 5.14. `None` where the kernel lacks it.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option's value is a u64, and the kernel writes no more than `len` bytes to it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        return Ok(Some(cookie));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        error => Err(error),
    }
}
