//! What is churned: Services of one family and one protocol each, as objects.
//!
//! No two of them may share a name, nor an address: who answers tells whose set counts.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use lb_userspace::{model::Protocol, source::Event};

use super::{GUESTS, PODS};
use crate::{family::Family, objects, pod, port::cluster_ip};

/// Every Pod serves the steady Services here.
pub(super) const POD_PORT: u16 = 8080;

/// Services of one family and one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub(super) protocol: Protocol,
    pub(super) family: Family,
}

/// `connect()` of IPv4 TCP sockets.
pub const TCP4: Line = Line { protocol: Protocol::Tcp, family: Family::V4 };

/// Both protocols, in the families that the kernel has.
pub fn all(families: &[Family]) -> Vec<Line> {
    let unmapped = families.iter().filter(|&&family| family != Family::Mapped);
    let lines = |&family| [Protocol::Tcp, Protocol::Udp].map(|protocol| Line { protocol, family });
    unmapped.flat_map(lines).collect()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.protocol == Protocol::Tcp { "tcp" } else { "udp" };
        let family = if self.family == Family::V6 { 6 } else { 4 };
        write!(f, "{protocol}{family}")
    }
}

impl Line {
    /// The address of the Service that is always there.
    pub(super) fn vip(self) -> SocketAddr {
        let index = if self.protocol == Protocol::Tcp { 1 } else { 2 };
        cluster_ip(index, 80).seen_by(self.family)
    }

    /// The Service that is always there.
    pub(super) fn steady(self) -> Event {
        objects::service(&self.name(), self.vip().ip(), self.protocol, self.vip().port())
    }

    /// Its endpoints: a bit for each Pod.
    pub(super) fn slice(self, set: u64) -> Event {
        let members = (0..PODS).filter(|index| set >> index & 1 == 1);
        let addresses = members.map(|index| self.pod(index));
        objects::slice(&self.name(), addresses, self.protocol, POD_PORT)
    }

    /// The address of a Service that comes and goes.
    pub(super) fn guest_vip(self, guest: u8) -> SocketAddr {
        cluster_ip(100 + guest, 80).seen_by(self.family)
    }

    /// What makes a Service come, or go.
    pub(super) fn change_guest(self, guest: u8, present: bool) -> Vec<Event> {
        let (name, vip) = (format!("guest-{guest}"), self.guest_vip(guest));
        if present {
            return vec![objects::delete_service(&name)];
        }
        let pods = (0..PODS).filter(|index| index % GUESTS == guest).map(|index| self.pod(index));
        vec![
            objects::slice(&name, pods, self.protocol, guest_port(guest.into())),
            objects::service(&name, vip.ip(), self.protocol, vip.port()),
        ]
    }

    fn name(self) -> String {
        format!("steady-{self}")
    }

    fn pod(self, index: u8) -> IpAddr {
        pod::place(index, 0).seen_by(self.family).ip()
    }
}

/// Every Pod serves this guest here.
pub(super) fn guest_port(guest: u16) -> u16 {
    9000 + guest
}
