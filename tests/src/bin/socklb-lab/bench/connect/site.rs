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
use lab::{Lab, family::Dual, plane::Plane, port::Port};
use lb_userspace::{
    dataplane::{Configuration, Settings},
    publish::Sizes,
};

/// Addresses reserved for documentation (RFC 5737, RFC 3849): no route in the lab leads there.
pub(super) const UNROUTED: Dual =
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

/// A cgroup, and what is in force there.
pub(super) struct Site {
    cgroup: PathBuf,
    /// How many frontends lead to the Pod, in each family and for each of TCP and UDP.
    pub(super) frontends: u32,
    plane: Option<Plane>,
}

impl Site {
    /// A cgroup without programs.
    pub(super) fn bare(lab: &Lab) -> Result<Self> {
        Ok(Self { cgroup: cgroup(lab, "bare")?, frontends: 0, plane: None })
    }

    /// A cgroup with all programs that socklb has. With `tcp_peername` TCP sockets are shown the
    /// Service's address; without, they do not even remember it.
    pub(super) fn new(lab: &Lab, frontends: u32, pod: Dual, tcp_peername: bool) -> Result<Self> {
        let name = if tcp_peername { "frontends" } else { "nopeername" };
        let cgroup = cgroup(lab, &format!("{name}-{frontends}"))?;
        // Every number is a frontend in two families, and for two protocols in each.
        let entries = (frontends + DEAD_ENDS + 1) * 4;
        let settings = Settings {
            note_tcp: tcp_peername,
            reverse_tcp: tcp_peername,
            protect_node_ports: true,
            ..Settings::new(Sizes::new(entries, entries))
        };
        let configuration = Configuration { protect_node_ports: true, ..Configuration::default() };
        let mut plane = Plane::with(&settings, configuration)?;
        let numbers: Vec<u32> = (0..=frontends + DEAD_ENDS).collect();
        for batch in numbers.chunks(BATCH as usize) {
            let changes = batch.iter().flat_map(|&number| ports(number, frontends, pod));
            plane.apply(changes.flat_map(|port| port.changes().collect::<Vec<_>>()))?;
        }
        plane.attach(&cgroup)?;
        Ok(Self { cgroup, frontends, plane: Some(plane) })
    }

    /// Moves this process there: sockets made from now on belong to it.
    pub(super) fn enter(&self) -> Result<()> {
        fs::write(self.cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("cannot enter the cgroup {}", self.cgroup.display()))
    }

    /// How often a program ran, and for how long in all, while statistics were on. `None` without
    /// programs.
    pub(super) fn statistics(&self, hook: &'static str) -> Result<Option<(u64, Duration)>> {
        let plane = self.plane.as_ref();
        Ok(plane.map(|plane| plane.object.statistics(hook)).transpose()?)
    }

    /// The frontend with this number below [`DEAD_ENDS`], whose backend is [`UNROUTED`].
    pub(super) fn dead_end(&self, number: u32) -> Dual {
        vip(self.frontends + number)
    }

    /// The frontend with session affinity: to [`UNROUTED`] for TCP, to the Pod for UDP.
    pub(super) fn sticky(&self) -> Dual {
        vip(self.frontends + DEAD_ENDS)
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
        _ => [tcp.to([UNROUTED]).affinity(AFFINITY), udp.to([pod]).affinity(AFFINITY)],
    }
}

/// The frontend with this number: its backend is the Pod if it is below [`Site::frontends`].
pub(super) fn vip(number: u32) -> Dual {
    let v6 = Ipv6Addr::from(FIRST_VIP6 + u128::from(number));
    Dual::new(Ipv4Addr::from(FIRST_VIP + number), v6, VIP_PORT)
}
