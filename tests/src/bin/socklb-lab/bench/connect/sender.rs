//! The Pod's UDP sockets: they take whatever is sent there, read nothing of it, and send datagrams
//! of their own.
//!
//! They must be made outside of every case's cgroup, so that no program runs for them.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Result;
use lab::{
    family::{Dual, Family},
    pod::{CLIENT, CLIENT6, Pod},
};

/// One socket for each address of the Pod.
pub(super) struct Sender {
    v4: UdpSocket,
    v6: Option<UdpSocket>,
}

impl Sender {
    /// Takes the Pod's `port`.
    pub(super) fn new(pod: &Pod, port: u16, ipv6: bool) -> Result<Self> {
        let here = pod.dual(port);
        pod.namespace().run(|| {
            let v4 = UdpSocket::bind(here.v4)?;
            let v6 = ipv6.then(|| UdpSocket::bind(here.v6)).transpose()?;
            Ok(Self { v4, v6 })
        })
    }

    /// Sends a datagram to the client's `port`, as a socket of this family receives it.
    pub(super) fn send(&self, family: Family, port: u16) -> Result<()> {
        let to: SocketAddr = Dual::new(CLIENT, CLIENT6, port).in_packets_of(family);
        let socket = match &self.v6 {
            Some(v6) if to.is_ipv6() => v6,
            _ => &self.v4,
        };
        socket.send_to(b"some answer", to)?;
        Ok(())
    }
}
