//! Which ports are open in a network namespace, as its /proc/net tells.
//!
//! It must never try a port by connecting: some servers take that for their one client.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A port that accepts connections.
    Tcp,
    /// A port that receives datagrams.
    Udp,
}

impl Transport {
    /// /proc/net's files for it, and the state of an open port there (include/net/tcp_states.h;
    /// an unconnected UDP socket has the number of TCP_CLOSE).
    fn listing(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::Tcp => (["tcp", "tcp6"], "0A"),
            Self::Udp => (["udp", "udp6"], "07"),
        }
    }
}

/// Whether a socket in `namespace` is open on exactly this address.
pub(crate) fn is_open(
    namespace: &Namespace,
    transport: Transport,
    address: SocketAddr,
) -> Result<bool> {
    let (files, state) = transport.listing();
    let file = format!("/proc/thread-self/net/{}", files[usize::from(address.is_ipv6())]);
    let text = match namespace.run(|| fs::read_to_string(&file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.with_context(|| format!("cannot read {file}"))?,
    };
    let written = written(address);
    Ok(text.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(1) == Some(&written) && fields.nth(1) == Some(state)
    }))
}

/// An address as /proc/net writes it: 32-bit words in the machine's byte order, then the port.
fn written(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let words: String =
        words.iter().map(|&word| format!("{:08X}", u32::from_ne_bytes(word))).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn only_an_open_port_is_open() {
        let here = Namespace::current().unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let (Ok(listener), Ok(socket)) = (TcpListener::bind((ip, 0)), UdpSocket::bind((ip, 0)))
            else {
                assert_eq!(ip, "::1", "only IPv6 may be missing");
                continue;
            };
            let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
            assert!(is_open(&here, Transport::Tcp, tcp).unwrap());
            assert!(is_open(&here, Transport::Udp, udp).unwrap());
            drop((listener, socket));
            assert!(!is_open(&here, Transport::Tcp, tcp).unwrap());
            assert!(!is_open(&here, Transport::Udp, udp).unwrap());
        }
    }
}
