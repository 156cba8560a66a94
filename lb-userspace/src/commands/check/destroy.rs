//! Whether the kernel closes sockets by netlink (SOCK_DESTROY), tried on a socket made for it.
//!
//! The socket is named by address, port and cookie: no other one can be meant. Nothing is sent.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::net::sockopt::socket_cookie;
use thiserror::Error;

/// Why sockets cannot be closed.
#[derive(Debug, Error)]
pub(super) enum DestroyError {
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
pub(super) fn probe() -> Result<(), DestroyError> {
    // An address that is there in every network namespace, even with all interfaces down.
    let victim = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut id = SocketId::new_v4();
    id.source_port = victim.local_addr()?.port();
    id.cookie = socket_cookie(&victim).map_err(io::Error::from)?.to_ne_bytes();
    match destroy(id).map_err(|error| (error.raw_os_error(), error)) {
        Ok(()) => {}
        Err((Some(libc::EOPNOTSUPP), _)) => return Err(DestroyError::NotBuilt),
        Err((Some(libc::ENOENT | libc::EINVAL), _)) => return Err(DestroyError::NoDiag),
        Err((Some(libc::EPERM), _)) => return Err(DestroyError::NotAllowed),
        Err((_, error)) => return Err(error.into()),
    }
    match victim.take_error()?.and_then(|error| error.raw_os_error()) {
        Some(libc::ECONNABORTED) => Ok(()),
        _ => Err(DestroyError::Ignored),
    }
}

fn destroy(socket_id: SocketId) -> io::Result<()> {
    let netlink = Socket::new(NETLINK_SOCK_DIAG)?;
    netlink.connect(&SocketAddr::new(0, 0))?;
    let request = SockDiagDestroy::new(SockDiagMessage::InetRequest(InetRequest {
        family: AF_INET,
        protocol: IPPROTO_UDP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    }));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    netlink.send(&bytes, 0)?;
    let (answer, _) = netlink.recv_from_full()?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
