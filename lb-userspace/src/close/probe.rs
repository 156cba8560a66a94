//! Whether the kernel closes sockets by netlink (SOCK_DESTROY), tried on a socket made for it.
//!
//! The socket is named by address, port and cookie: no other one can be meant. Nothing is sent.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
};

use netlink_packet_sock_diag::inet::SocketId;
use rustix::net::sockopt::socket_cookie;
use thiserror::Error;

use super::{
    UDP,
    diag::Netlink,
    node::{Diag as _, Family, Socket},
};

/// Why sockets cannot be closed.
#[derive(Debug, Error)]
pub(crate) enum ProbeError {
    #[error("the kernel was built without CONFIG_INET_DIAG_DESTROY")]
    NotBuilt,
    #[error("the kernel was built without CONFIG_INET_UDP_DIAG, or cannot load udp_diag")]
    NoDiag,
    #[error("CAP_NET_ADMIN is missing")]
    NotAllowed,
    #[error("the kernel did not close the socket that it said it had")]
    Ignored,
    #[error("{0}")]
    Other(#[from] io::Error),
}

/// Closes an own UDP socket under itself.
pub(crate) fn probe() -> Result<(), ProbeError> {
    // An address that is there in every network namespace, even with all interfaces down.
    let victim = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut id = SocketId::new_v4();
    id.source_port = victim.local_addr()?.port();
    id.cookie = Socket::cookie_bytes(socket_cookie(&victim).map_err(io::Error::from)?);
    let socket = Socket { family: Family::Inet, protocol: UDP, id };
    match Netlink::open()?.destroy(&socket).map_err(|error| (error.raw_os_error(), error)) {
        Ok(()) => {}
        Err((Some(libc::EOPNOTSUPP), _)) => return Err(ProbeError::NotBuilt),
        Err((Some(libc::ENOENT | libc::EINVAL), _)) => return Err(ProbeError::NoDiag),
        Err((Some(libc::EPERM), _)) => return Err(ProbeError::NotAllowed),
        Err((_, error)) => return Err(error.into()),
    }
    match victim.take_error()?.and_then(|error| error.raw_os_error()) {
        Some(libc::ECONNABORTED) => Ok(()),
        _ => Err(ProbeError::Ignored),
    }
}
