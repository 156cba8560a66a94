//! The kernel's sockets by netlink: lists those of one network namespace, and closes them.
//!
//! NETLINK_SOCK_DIAG, see sock_diag(7); SOCK_DESTROY is in kernels built with
//! CONFIG_INET_DIAG_DESTROY. Nothing here decides what is closed.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, Parseable as _,
};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};
use netlink_sys::{
    Socket as NetlinkSocket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG,
};

use super::{
    TCP,
    node::{Diag, Family, Socket},
};

/// More than the kernel puts into one message of a list (`netlink_dump()` in
/// net/netlink/af_netlink.c: 32 KiB).
const BUFFER: usize = 64 * 1024;

/// A netlink socket, which sees the namespace that it was made in.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: NetlinkSocket,
    /// Tells answers to this request from late ones to an earlier request that failed.
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Makes a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = NetlinkSocket::new(NETLINK_SOCK_DIAG)?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    fn send<T>(&mut self, flags: u16, payload: NetlinkPayload<T>) -> io::Result<()>
    where
        T: NetlinkSerializable,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Hands each part of the answer to `each`, up to its end.
    fn receive(&mut self, each: &mut dyn FnMut(InetResponseHeader)) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if take(&self.buffer, self.sequence, each)? {
                return Ok(());
            }
        }
    }
}

impl Diag for Netlink {
    fn list(
        &mut self,
        family: Family,
        protocol: u8,
        each: &mut dyn FnMut(Socket),
    ) -> io::Result<()> {
        let any = match family {
            Family::Inet => SocketId::new_v4(),
            Family::Inet6 => SocketId::new_v6(),
        };
        let request = request(family, protocol, any);
        self.send(NLM_F_DUMP, SockDiagMessage::InetRequest(request).into())?;
        self.receive(&mut |header| each(Socket { family, protocol, id: header.socket_id }))
    }

    fn destroy(&mut self, socket: &Socket) -> io::Result<()> {
        // The kernel looks for the socket by both addresses and ports, then compares the cookie.
        let request = request(socket.family, socket.protocol, socket.id.clone());
        let request = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
        self.send(NLM_F_ACK, request.into())?;
        self.receive(&mut |_| ())
    }
}

fn request(family: Family, protocol: u8, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family: family.number(),
        protocol,
        extensions: ExtensionFlags::empty(),
        states: states(protocol),
        socket_id,
    }
}

/// The states of sockets that have a peer. A connected UDP socket is in the one that TCP calls
/// established.
fn states(protocol: u8) -> StateFlags {
    match protocol {
        TCP => {
            StateFlags::ESTABLISHED
                | StateFlags::SYN_SENT
                | StateFlags::FIN_WAIT1
                | StateFlags::FIN_WAIT2
                | StateFlags::CLOSE_WAIT
                | StateFlags::LAST_ACK
                | StateFlags::CLOSING
        }
        _ => StateFlags::ESTABLISHED,
    }
}

/// One socket of a list. Only the fixed part is parsed: later kernels may add attributes.
struct Reply(InetResponseHeader);

impl NetlinkDeserializable for Reply {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        InetResponseHeader::parse(payload).map(Self)
    }
}

/// Takes one datagram of messages apart. Whether it holds the answer's end.
fn take(
    mut bytes: &[u8],
    sequence: u32,
    each: &mut dyn FnMut(InetResponseHeader),
) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<Reply>::deserialize(bytes).map_err(invalid)?;
        let len = message.header.length.next_multiple_of(4) as usize;
        bytes = bytes.get(len..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(Reply(header)) => each(header),
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(io::Error::from_raw_os_error(-done.code));
            }
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                return match error.code {
                    None => Ok(true),
                    Some(_) => Err(error.to_io()),
                };
            }
            _ => {}
        }
    }
    Ok(false)
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: u16 = 20;
    const ERROR: u16 = 2;
    const DONE: u16 = 3;

    /// A netlink message in this machine's byte order, padded to 4 bytes.
    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let len = 16 + payload.len();
        let mut bytes = Vec::new();
        bytes.extend((len as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(len.next_multiple_of(4), 0);
        bytes
    }

    /// `struct inet_diag_msg` of a connected IPv4 socket, and an attribute of an unknown kind.
    fn socket(cookie: u32, port: u16) -> Vec<u8> {
        let mut bytes = vec![2, 1, 0, 0];
        bytes.extend(40_000u16.to_be_bytes());
        bytes.extend(port.to_be_bytes());
        for address in [[10, 244, 0, 1], [10, 244, 0, 9]] {
            bytes.extend(address);
            bytes.extend([0; 12]);
        }
        bytes.extend(3u32.to_ne_bytes());
        bytes.extend(cookie.to_ne_bytes());
        bytes.extend([0; 4 + 20]);
        assert_eq!(bytes.len(), 72);
        bytes.extend(5u16.to_ne_bytes());
        bytes.extend(999u16.to_ne_bytes());
        bytes.push(1);
        bytes
    }

    fn taken(bytes: &[u8], sequence: u32) -> (Vec<(u16, [u8; 8])>, io::Result<bool>) {
        let mut sockets = Vec::new();
        let end = take(bytes, sequence, &mut |header| {
            assert_eq!(header.socket_id.destination_address.to_string(), "10.244.0.9");
            assert_eq!(header.socket_id.interface_id, 3);
            sockets.push((header.socket_id.destination_port, header.socket_id.cookie));
        });
        (sockets, end)
    }

    fn cookie(low: u32) -> [u8; 8] {
        let mut cookie = [0; 8];
        cookie[..4].copy_from_slice(&low.to_ne_bytes());
        cookie
    }

    #[test]
    fn a_list_may_come_in_several_datagrams() {
        let mut first = message(LIST, 7, &socket(11, 53));
        first.extend(message(LIST, 7, &socket(12, 5353)));
        let (sockets, end) = taken(&first, 7);
        assert_eq!(sockets, [(53, cookie(11)), (5353, cookie(12))]);
        assert!(!end.unwrap(), "more is to come");
        let mut second = message(LIST, 7, &socket(13, 80));
        second.extend(message(DONE, 7, &0i32.to_ne_bytes()));
        let (sockets, end) = taken(&second, 7);
        assert_eq!(sockets, [(80, cookie(13))]);
        assert!(end.unwrap());
    }

    #[test]
    fn answers_to_an_earlier_request_are_passed_over() {
        let mut bytes = message(LIST, 6, &socket(11, 53));
        bytes.extend(message(DONE, 6, &0i32.to_ne_bytes()));
        bytes.extend(message(LIST, 7, &socket(12, 53)));
        let (sockets, end) = taken(&bytes, 7);
        assert_eq!(sockets, [(53, cookie(12))]);
        assert!(!end.unwrap());
    }

    #[test]
    fn errors_are_the_kernels() {
        let mut payload = (-libc::EOPNOTSUPP).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        let error = taken(&message(ERROR, 7, &payload), 7).1.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
        let error = taken(&message(DONE, 7, &(-libc::ENOMEM).to_ne_bytes()), 7).1.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        assert!(taken(&message(ERROR, 7, &[0; 20]), 7).1.unwrap(), "an acknowledgement");
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let whole = message(LIST, 7, &socket(11, 53));
        for len in [1, 15, 16, 40, 87] {
            let (sockets, end) = taken(&whole[..len], 7);
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData, "{len} bytes");
            assert_eq!(sockets, []);
        }
    }
}
