//! An rtnetlink socket: subscriptions, dumps, and the messages in what it receives.
//!
//! This module must never look into a message further than its header.

use std::{io, os::fd::AsFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, parse_i32,
};
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};

/// The length of a `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// RTM_GETADDR (rtnetlink(7)).
const GET_ADDRESS: u16 = 22;
/// The length of a `struct ifaddrmsg`.
const ADDRESS_HEADER_LEN: usize = 8;
/// The most that the kernel puts into one answer (`netlink_recvmsg()` in
/// net/netlink/af_netlink.c); notifications are shorter.
const RECEIVED_AT_ONCE: usize = 32 * 1024;

/// Multicast groups (`RTNLGRP_…`, include/uapi/linux/rtnetlink.h).
#[derive(Clone, Copy)]
pub(super) enum Group {
    Link = 1,
    Ipv4Address = 5,
    Ipv6Address = 9,
}

/// A socket and what it last received.
pub(super) struct Socket {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl Socket {
    fn open() -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVED_AT_ONCE) })
    }

    /// A socket that is told of changes, and does not block.
    pub(super) fn subscribed(groups: impl IntoIterator<Item = Group>) -> io::Result<Self> {
        let socket = Self::open()?;
        for group in groups {
            socket.socket.add_membership(group as u32)?;
        }
        socket.socket.set_non_blocking(true)?;
        Ok(socket)
    }

    /// A socket that has asked for all addresses of its namespace, and blocks until they come.
    pub(super) fn asking_for_addresses() -> io::Result<Self> {
        let socket = Self::open()?;
        // All zero: of every family, on every interface.
        let mut request = [0; HEADER_LEN + ADDRESS_HEADER_LEN];
        let length = request.len();
        let mut header = NetlinkBuffer::new(&mut request);
        header.set_length(length as u32);
        header.set_message_type(GET_ADDRESS);
        header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
        let sent = socket.socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
        if sent == length { Ok(socket) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The messages of one datagram, from the kernel.
    pub(super) fn receive(&mut self) -> io::Result<impl Iterator<Item = Message<'_>>> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                // Whoever may send to such sockets may also spoof; the kernel's port is 0.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => return Ok(messages(&self.buffer)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A message without its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) payload: &'a [u8],
}

impl Message<'_> {
    /// Whether this is the last message of a dump. With the kernel's error, if it failed.
    pub(super) fn ends_dump(&self) -> io::Result<bool> {
        if ![NLMSG_DONE, NLMSG_ERROR].contains(&self.kind) {
            return Ok(false);
        }
        // Both begin with a negative errno, or zero; the end of a dump may do without.
        match self.payload.get(..4).and_then(|code| parse_i32(code).ok()) {
            Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            _ => Ok(true),
        }
    }
}

/// Splits a datagram. What is cut off or malformed at its end is left out.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let (kind, flags, payload) = (message.message_type(), message.flags(), message.payload());
        // Each begins at a multiple of four.
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(Message { kind, flags, payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = HEADER_LEN + payload.len();
        let mut bytes = vec![0; HEADER_LEN];
        let mut header = NetlinkBuffer::new(&mut bytes);
        header.set_length(length as u32);
        header.set_message_type(kind);
        bytes.extend(payload);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_datagram_is_split_into_its_messages() {
        let mut bytes = message(20, &[1, 2, 3, 4, 5]);
        bytes.extend(message(21, &[]));
        let split: Vec<_> = messages(&bytes).map(|found| (found.kind, found.payload)).collect();
        assert_eq!(split, [(20, &[1, 2, 3, 4, 5][..]), (21, &[])]);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let mut bytes = message(20, &[1; 8]);
        bytes.extend(message(21, &[2; 8]));
        for length in 0..bytes.len() {
            let whole = length / 24;
            assert_eq!(messages(&bytes[..length]).count(), whole, "{length}");
        }
        // A length that no message can have.
        assert_eq!(messages(&[0; 64]).count(), 0);
    }

    #[test]
    fn a_dump_ends_with_success_or_the_kernels_reason() {
        let ends = |kind, payload: &[u8]| {
            Message { kind, flags: 0, payload }.ends_dump().map_err(|error| error.raw_os_error())
        };
        assert_eq!(ends(20, &[255; 4]), Ok(false));
        assert_eq!(ends(NLMSG_DONE, &[]), Ok(true));
        assert_eq!(ends(NLMSG_DONE, &0i32.to_ne_bytes()), Ok(true));
        for kind in [NLMSG_DONE, NLMSG_ERROR] {
            assert_eq!(ends(kind, &(-libc::EPERM).to_ne_bytes()), Err(Some(libc::EPERM)));
        }
    }
}
