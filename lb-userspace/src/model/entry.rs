//! What is known under the name of one Service, and the sets of backends that follow from it.
//!
//! Sets are computed when they are asked for after a change, and shared by all frontends of a port.
//! This module must never know which frontends there are.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{
    Backends, Notice, Protocol, Retired, Tracked,
    api_server::LastKnown,
    eligible::Candidates,
    family::{Address, PerFamily},
    service::{Port, Spec},
    slice::Slice,
};

/// A Service and its slices.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// `None` while only slices are known.
    pub(super) spec: Option<Spec>,
    /// Sorted by name.
    pub(super) slices: Vec<Slice>,
    /// Whether `sets` may not follow from the above any more.
    pub(super) stale: bool,
    /// What follows from others was last told of the Service.
    pub(super) reported: Box<[Notice]>,
    /// For each port of `spec`.
    sets: Box<[PerFamily<Sets>]>,
    /// What serves, as the caller knows it; tracked ports only, each name once.
    serving: Box<[Serving]>,
    /// Stands in for sets that would be empty: the API server's Service alone has that.
    pub(super) last_known: Option<Box<LastKnown>>,
}

/// The backends of one port and family. Without those that nothing asks for.
#[derive(Debug, Default)]
struct Sets {
    cluster_wide: Option<Arc<Backends>>,
    local: Option<Arc<Backends>>,
    serving: Option<Arc<Backends>>,
}

/// The backends that serve one tracked port.
#[derive(Debug)]
struct Serving {
    /// As [`super::Frontend::name`].
    name: Arc<str>,
    sets: PerFamily<Option<Arc<Backends>>>,
}

/// What sets depend on beside the Service's own objects.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) zone: Option<&'a str>,
    pub(super) track: Tracked,
}

impl Entry {
    /// Brings the sets up to date, and adds the backends that no longer serve to `retired`.
    pub(super) fn refresh(&mut self, place: Place<'_>, retired: &mut Vec<Retired>) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let ports = self.spec.as_ref().map_or(&[][..], |spec| &*spec.ports);
        let mut before = std::mem::take(&mut self.sets).into_iter();
        let sets = ports.iter().map(|port| {
            let before = before.next().unwrap_or_default();
            PerFamily {
                v4: self.compute::<Ipv4Addr>(port, place, before.v4),
                v6: self.compute::<Ipv6Addr>(port, place, before.v6),
            }
        });
        let sets: Box<[_]> = sets.collect();
        let now = serving(ports, &sets);
        self.sets = sets;
        retire(&std::mem::replace(&mut self.serving, now), &self.serving, retired);
    }

    fn compute<A: Address>(&self, port: &Port, place: Place<'_>, before: Sets) -> Sets {
        let Some(spec) = self.spec.as_ref().filter(|spec| spec.has_family::<A>()) else {
            return Sets::default();
        };
        let candidates = Candidates::<A>::new(&self.slices, &port.name, port.protocol);
        let known = [before.cluster_wide, before.local, before.serving];
        let last = self.last_known.as_ref().and_then(|last| last.of::<A>(port));
        let or_last = |set: Backends, last: Option<&Backends>| match last {
            Some(last) if set.is_empty() => shared(last.clone(), &known),
            _ => shared(set, &known),
        };
        let last_of = last.and_then(|last| last.cluster_wide.as_ref());
        let cluster_wide = or_last(candidates.cluster_wide(place.zone), last_of);
        let last_of = last.and_then(|last| last.local.as_ref());
        let local = spec.local.then(|| or_last(candidates.local(), last_of));
        let serving = place.track.includes(port.protocol).then(|| {
            let mut serving = candidates.serving();
            if last.is_some() {
                // What connects are sent to is not retired, however little is known of it.
                serving =
                    local.iter().fold(serving.union(&cluster_wide), |all, set| all.union(set));
            }
            let known = [Some(cluster_wide.clone()), known[2].clone()];
            shared(serving, &known)
        });
        Sets { cluster_wide: Some(cluster_wide), local, serving }
    }

    /// The backends of a port on an address of this family: this node's alone for a ClusterIP whose
    /// Service wants that.
    pub(super) fn backends(
        &self,
        port: usize,
        family: IpAddr,
        local: bool,
    ) -> Option<&Arc<Backends>> {
        let sets = self.sets.get(port)?.of(family);
        if local { sets.local.as_ref() } else { sets.cluster_wide.as_ref() }
    }

    /// All that serve, with the port that they serve.
    pub(super) fn serving(&self) -> impl Iterator<Item = (Arc<str>, SocketAddr)> + '_ {
        self.serving
            .iter()
            .flat_map(|serving| serving.iter().map(|backend| (serving.name.clone(), backend)))
    }

    /// Whether one of them is this backend of the port of this name.
    pub(super) fn serves(&self, port: &str, backend: SocketAddr) -> bool {
        self.serving.iter().any(|serving| *serving.name == *port && serving.contains(backend))
    }

    /// Whether nothing is left to be remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.spec.is_none() && self.slices.is_empty()
    }
}

impl Serving {
    fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let sets = [&self.sets.v4, &self.sets.v6].into_iter().flatten();
        sets.flat_map(|set| set.iter())
    }

    fn contains(&self, backend: SocketAddr) -> bool {
        self.sets.of(backend.ip()).as_ref().is_some_and(|set| set.contains(backend))
    }
}

impl Tracked {
    fn includes(self, protocol: Protocol) -> bool {
        match self {
            Self::None => false,
            Self::Udp => protocol == Protocol::Udp,
            Self::UdpAndTcp => true,
        }
    }
}

/// The one of `known` that is the same set, so that memory is shared.
fn shared(set: Backends, known: &[Option<Arc<Backends>>]) -> Arc<Backends> {
    let same = known.iter().flatten().find(|known| ***known == set);
    same.cloned().unwrap_or_else(|| Arc::new(set))
}

fn serving(ports: &[Port], sets: &[PerFamily<Sets>]) -> Box<[Serving]> {
    let mut serving: Vec<Serving> = Vec::new();
    for (port, sets) in ports.iter().zip(sets) {
        // Ports of one name, as no API server lets exist, have the same endpoints.
        let known = serving.iter().any(|other| other.name == port.full_name);
        let (v4, v6) = (sets.v4.serving.clone(), sets.v6.serving.clone());
        if !known && (v4.is_some() || v6.is_some()) {
            let name = port.full_name.clone();
            serving.push(Serving { name, sets: PerFamily { v4, v6 } });
        }
    }
    serving.into()
}

fn retire(before: &[Serving], now: &[Serving], retired: &mut Vec<Retired>) {
    for before in before {
        let now = now.iter().find(|now| now.name == before.name);
        let serves = |backend| now.is_some_and(|now| now.contains(backend));
        let gone = before.iter().filter(|backend| !serves(*backend));
        retired.extend(gone.map(|backend| Retired { name: before.name.clone(), backend }));
    }
}
