//! Where a case's sockets are made: a cgroup, with the programs on it and so many frontends in
//! their tables, or without.
//!
//! Nothing here may ever send a packet.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use fastrand::Rng;
use lab::{Lab, family::Dual, plane::Plane, port::Port, socket::Errno};
use lb_userspace::{
    dataplane::{Configuration, Settings},
    publish::Sizes,
};
use rustix::io::Result as Answer;

/// Addresses reserved for documentation (RFC 5737, RFC 3849): no route in the lab leads there.
const UNROUTED: Dual =
    Dual::new(Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 1);
/// Services whose only backend is [`UNROUTED`]: as many as one UDP socket can talk to at once.
pub(super) const DEAD_ENDS: u32 = lb_common::layout::PEERS as u32;
/// The first address of the Service network that kubeadm sets up, and one like it.
const FIRST_VIP: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const FIRST_VIP6: u128 = 0xfd00_0010_0096 << 80;
const VIP_PORT: u16 = 80;
/// Frontends that are published at once.
const BATCH: u32 = 5_000;
/// Long beyond any run, in seconds.
const AFFINITY: u32 = 10_800;

/// Where calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Straight to the Pod.
    Pod,
    /// Any frontend that leads to the Pod, each with the same chance.
    Any,
    /// One frontend that leads to the Pod.
    Service,
    /// A frontend that leads to [`UNROUTED`].
    DeadEnd,
    /// Another one, with session affinity.
    Sticky,
    /// Straight to [`UNROUTED`].
    Unrouted,
}

impl To {
    /// What the kernel answers if nothing else is wrong.
    pub(super) fn answer(self) -> Answer<()> {
        match self {
            Self::Pod | Self::Any | Self::Service => Ok(()),
            Self::DeadEnd | Self::Sticky | Self::Unrouted => Err(Errno::NETUNREACH),
        }
    }
}

/// Which sockets are shown the Service's address, as `--peername` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// TCP sockets do not even remember it.
    Udp,
    /// There are no programs that would show it.
    None,
}

/// A cgroup, and what is in force there.
pub(super) struct Site {
    cgroup: PathBuf,
    /// How many frontends lead to the Pod, in each family and for each of TCP and UDP.
    pub(super) frontends: u32,
    pod: Dual,
    shown: Shown,
    plane: Option<Plane>,
}

impl Site {
    /// A cgroup without programs.
    pub(super) fn bare(lab: &Lab, pod: Dual) -> Result<Self> {
        Ok(Self {
            cgroup: cgroup(lab, "bare")?,
            frontends: 0,
            pod,
            shown: Shown::None,
            plane: None,
        })
    }

    /// A cgroup with the programs that socklb has for this.
    pub(super) fn new(lab: &Lab, frontends: u32, pod: Dual, shown: Shown) -> Result<Self> {
        let cgroup = cgroup(lab, &format!("{shown:?}-{frontends}"))?;
        let entries = (frontends + DEAD_ENDS + 1) * 2;
        let settings = Settings {
            note_tcp: shown == Shown::All,
            reverse: shown != Shown::None,
            reverse_tcp: shown == Shown::All,
            protect_node_ports: true,
            ..Settings::new(Sizes::new(entries * 2, entries))
        };
        let configuration = Configuration { protect_node_ports: true, ..Configuration::default() };
        let mut plane = Plane::with(&settings, configuration)?;
        let numbers: Vec<u32> = (0..=frontends + DEAD_ENDS).collect();
        for batch in numbers.chunks(BATCH as usize) {
            let changes = batch.iter().flat_map(|&number| ports(number, frontends, pod));
            plane.apply(changes.flat_map(|port| port.changes().collect::<Vec<_>>()))?;
        }
        plane.attach(&cgroup)?;
        Ok(Self { cgroup, frontends, pod, shown, plane: Some(plane) })
    }

    /// Moves this process there: sockets made from now on belong to it.
    pub(super) fn enter(&self) -> Result<()> {
        fs::write(self.cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("cannot enter the cgroup {}", self.cgroup.display()))
    }

    /// How often a program ran, and for how long in all, while statistics were on. `None` without
    /// that program.
    pub(super) fn statistics(&self, hook: &'static str) -> Result<Option<(u64, Duration)>> {
        let shows = hook.starts_with("recvmsg") || hook.starts_with("getpeername");
        let plane = self.plane.as_ref().filter(|_| !shows || self.shown != Shown::None);
        Ok(plane.map(|plane| plane.object.statistics(hook)).transpose()?)
    }

    /// The address of one call, or of all.
    pub(super) fn address(&self, to: To) -> Dual {
        match to {
            To::Pod => self.pod,
            To::Any | To::Service => vip(self.frontends / 2),
            To::DeadEnd => vip(self.frontends),
            To::Sticky => vip(self.frontends + DEAD_ENDS),
            To::Unrouted => UNROUTED,
        }
    }

    /// The address that a UDP socket is shown when it was sent to another.
    pub(super) fn shown(&self, to: To) -> Dual {
        if self.shown == Shown::None { self.pod } else { self.address(to) }
    }

    /// The address of each call anew.
    pub(super) fn addresses(&self, to: To) -> Box<dyn FnMut(&mut Rng) -> Dual> {
        let (always, frontends) = (self.address(to), self.frontends);
        match to {
            To::Any => Box::new(move |rng| vip(rng.u32(..frontends))),
            _ => Box::new(move |_| always),
        }
    }

    /// Each frontend that leads to [`UNROUTED`] without affinity.
    pub(super) fn dead_ends(&self) -> impl Iterator<Item = Dual> + use<> {
        (self.frontends..self.frontends + DEAD_ENDS).map(vip)
    }
}

fn cgroup(lab: &Lab, name: &str) -> Result<PathBuf> {
    let cgroup = lab.cgroup().join(name);
    fs::create_dir(&cgroup)
        .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
    Ok(cgroup)
}

/// Each a Service port of its own, as in a cluster.
fn ports(number: u32, frontends: u32, pod: Dual) -> [Port; 2] {
    let name = format!("bench/{number}");
    let (tcp, udp) = (Port::tcp(&name).at([vip(number)]), Port::udp(&name).at([vip(number)]));
    match number {
        number if number < frontends => [tcp.to([pod]), udp.to([pod])],
        number if number < frontends + DEAD_ENDS => [tcp.to([UNROUTED]), udp.to([UNROUTED])],
        _ => [tcp, udp].map(|port| port.to([UNROUTED]).affinity(AFFINITY)),
    }
}

/// The frontend with this number.
fn vip(number: u32) -> Dual {
    let v6 = Ipv6Addr::from(FIRST_VIP6 + u128::from(number));
    Dual::new(Ipv4Addr::from(FIRST_VIP + number), v6, VIP_PORT)
}
