//! Sockets as applications open and use them, one method for each system call.
//!
//! Errors are the kernel's own numbers, so that a test can compare them. Nothing here waits longer
//! than [`TIMEOUT`]: a connect then fails with EINPROGRESS, everything else with EAGAIN. No port
//! stays in TIME_WAIT: connections are reset in the end.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage};
pub use rustix::io::Errno;
use rustix::{
    io::Result,
    net::{
        MMsgHdr, Protocol, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrAny, SocketFlags, SocketType, UCred, ipproto,
        sockopt,
    },
    process::{getgid, getpid, getuid},
};

use crate::{client::TIMEOUT, exchange::Answer, family::Family};

/// MSG_FASTOPEN (tcp(7)): connect, and send the first data with it.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);
/// The longest datagram that a test sends.
const LONGEST: usize = 2048;

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// A TCP socket.
    ///
    /// # Errors
    /// EAFNOSUPPORT without IPv6.
    pub fn tcp(family: Family) -> Result<Self> {
        Self::new(family, SocketType::STREAM, Some(ipproto::TCP))
    }

    /// A UDP socket.
    ///
    /// # Errors
    /// EAFNOSUPPORT without IPv6.
    pub fn udp(family: Family) -> Result<Self> {
        Self::new(family, SocketType::DGRAM, Some(ipproto::UDP))
    }

    /// A multipath TCP socket.
    ///
    /// # Errors
    /// EPROTONOSUPPORT or ENOPROTOOPT where the kernel has it not, or not switched on.
    pub fn mptcp(family: Family) -> Result<Self> {
        Self::new(family, SocketType::STREAM, Some(ipproto::MPTCP))
    }

    /// A socket of any kind.
    ///
    /// # Errors
    /// Those of `socket()`.
    pub fn new(family: Family, kind: SocketType, protocol: Option<Protocol>) -> Result<Self> {
        let fd = rustix::net::socket_with(family.domain(), kind, SocketFlags::CLOEXEC, protocol)?;
        for timeout in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&fd, timeout, Some(TIMEOUT))?;
        }
        if kind == SocketType::STREAM {
            sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?;
        }
        Ok(Self { fd })
    }

    /// `bind()`.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn bind(&self, to: impl Into<SocketAddr>) -> Result<()> {
        rustix::net::bind(&self.fd, &to.into())
    }

    /// `connect()`, with an address of whatever family it is.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn connect(&self, to: impl Into<SocketAddr>) -> Result<()> {
        rustix::net::connect(&self.fd, &to.into())
    }

    /// `connect()` with AF_UNSPEC, which dissolves an association.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn disconnect(&self) -> Result<()> {
        rustix::net::connect_unspec(&self.fd)
    }

    /// `getpeername()`.
    ///
    /// # Errors
    /// ENOTCONN, for one.
    pub fn peer(&self) -> Result<SocketAddr> {
        internet(rustix::net::getpeername(&self.fd)?)?.ok_or(Errno::NOTCONN)
    }

    /// `getsockname()`.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local(&self) -> Result<SocketAddr> {
        internet(Some(rustix::net::getsockname(&self.fd)?))?.ok_or(Errno::AFNOSUPPORT)
    }

    /// The socket's cookie, which no other socket ever has.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn cookie(&self) -> Result<u64> {
        sockopt::socket_cookie(&self.fd)
    }

    /// `send()`.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn send(&self, payload: &[u8]) -> Result<()> {
        rustix::net::send(&self.fd, payload, SendFlags::empty()).map(drop)
    }

    /// `sendto()`, with an address of whatever family it is.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn send_to(&self, payload: &[u8], to: impl Into<SocketAddr>) -> Result<()> {
        rustix::net::sendto(&self.fd, payload, SendFlags::empty(), &to.into()).map(drop)
    }

    /// `sendmsg()`, with an address of whatever family it is.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn send_msg(&self, payload: &[u8], to: impl Into<SocketAddr>) -> Result<()> {
        let parts = [IoSlice::new(payload)];
        let mut control = SendAncillaryBuffer::default();
        let none = SendFlags::empty();
        rustix::net::sendmsg_addr(&self.fd, &to.into(), &parts, &mut control, none).map(drop)
    }

    /// `sendmmsg()` of one message, with an address of whatever family it is.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn send_mmsg(&self, payload: &[u8], to: impl Into<SocketAddr>) -> Result<()> {
        let to = SocketAddrAny::from(to.into());
        let parts = [IoSlice::new(payload)];
        let mut control = SendAncillaryBuffer::default();
        let mut messages = [MMsgHdr::new_with_addr(&to, &parts, &mut control)];
        rustix::net::sendmmsg(&self.fd, &mut messages, SendFlags::empty()).map(drop)
    }

    /// `sendmsg()` with control data that a UDP socket ignores, and with an address or without.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn send_with_control(&self, payload: &[u8], to: Option<SocketAddr>) -> Result<()> {
        let (pid, uid, gid) = (getpid(), getuid(), getgid());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmCredentials(UCred { pid, uid, gid }));
        assert!(fits, "the buffer is as large as the message");
        let (parts, none) = ([IoSlice::new(payload)], SendFlags::empty());
        match to {
            Some(to) => rustix::net::sendmsg_addr(&self.fd, &to, &parts, &mut control, none),
            None => rustix::net::sendmsg(&self.fd, &parts, &mut control, none),
        }
        .map(drop)
    }

    /// `sendto()` with MSG_FASTOPEN: connects a TCP socket.
    ///
    /// # Errors
    /// Those of `connect()`; EOPNOTSUPP where fast open is switched off for clients.
    pub fn fast_open(&self, payload: &[u8], to: impl Into<SocketAddr>) -> Result<()> {
        rustix::net::sendto(&self.fd, payload, FAST_OPEN, &to.into()).map(drop)
    }

    /// `recv()`.
    ///
    /// # Errors
    /// Those of the system call; EBADMSG for what no server here sends.
    pub fn receive(&self) -> Result<Answer> {
        let mut buffer = [0; LONGEST];
        let (length, _) = rustix::net::recv(&self.fd, &mut buffer, RecvFlags::empty())?;
        Answer::parse(&buffer[..length], None)
    }

    /// `recvfrom()`.
    ///
    /// # Errors
    /// Those of the system call; EBADMSG for what no server here sends.
    pub fn receive_from(&self) -> Result<Answer> {
        let mut buffer = [0; LONGEST];
        let (length, _, source) = rustix::net::recvfrom(&self.fd, &mut buffer, RecvFlags::empty())?;
        Answer::parse(&buffer[..length], internet(source)?)
    }

    /// `recvmsg()`.
    ///
    /// # Errors
    /// Those of the system call; EBADMSG for what no server here sends.
    pub fn receive_msg(&self) -> Result<Answer> {
        let mut buffer = [0; LONGEST];
        let mut no_space: [MaybeUninit<u8>; 0] = [];
        let message = rustix::net::recvmsg(
            &self.fd,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut RecvAncillaryBuffer::new(&mut no_space),
            RecvFlags::empty(),
        )?;
        let source = message.address;
        Answer::parse(&buffer[..message.bytes], internet(source)?)
    }

    /// `recvmmsg()` of one message.
    ///
    /// # Errors
    /// Those of the system call; EBADMSG for what no server here sends.
    pub fn receive_mmsg(&self) -> Result<Answer> {
        let mut buffer = [0; LONGEST];
        let mut parts = [[IoSliceMut::new(&mut buffer)]];
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(1, None);
        let fd = self.fd.as_raw_fd();
        let received =
            nix::sys::socket::recvmmsg(fd, &mut headers, &mut parts, MsgFlags::empty(), None);
        let mut messages = received.map_err(|error| Errno::from_raw_os_error(error as i32))?;
        let message = messages.next().ok_or(Errno::BADMSG)?;
        let (length, source) = (message.bytes, message.address);
        let source = source.as_ref().and_then(|source| match source.as_sockaddr_in() {
            Some(&source) => Some(SocketAddr::V4(source.into())),
            None => source.as_sockaddr_in6().map(|&source| SocketAddr::V6(source.into())),
        });
        Answer::parse(&buffer[..length], source)
    }

    /// Waits for an answer, and leaves it for the next call. Returns who answered.
    ///
    /// # Errors
    /// Those of `recv()`; EBADMSG for what no server here sends.
    pub fn peek(&self) -> Result<u16> {
        let mut buffer = [0; LONGEST];
        let (length, _) = rustix::net::recv(&self.fd, &mut buffer, RecvFlags::PEEK)?;
        Ok(Answer::parse(&buffer[..length], None)?.identity)
    }

    /// What the listener at the other end of a TCP connection says of itself.
    ///
    /// # Errors
    /// Those of `recv()`; EBADMSG when it hung up without a word.
    pub fn identity(&self) -> Result<u16> {
        let mut greeting = [0; 2];
        self.receive_whole(&mut greeting)?;
        Ok(u16::from_be_bytes(greeting))
    }

    /// Fills `buffer` from a TCP connection.
    ///
    /// # Errors
    /// Those of `recv()`; EBADMSG when it ended before.
    pub fn receive_whole(&self, buffer: &mut [u8]) -> Result<()> {
        let (length, _) = rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::WAITALL)?;
        if length == buffer.len() { Ok(()) } else { Err(Errno::BADMSG) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn internet(address: Option<SocketAddrAny>) -> Result<Option<SocketAddr>> {
    address.map(SocketAddr::try_from).transpose()
}
