//! The API server's own Service. Whoever is to mend a cluster reaches the API server through it, the
//! agent among them, so what is known of it is not given up before something else is known.
//!
//! This module must never treat any other Service so: elsewhere no backend means none.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::{
    Backends, Model,
    eligible::Candidates,
    entry::Entry,
    family::{Address, PerFamily},
    service::Port,
    uses::Use,
};

/// Its `namespace/name`.
pub(super) const SERVICE: &str = "default/kubernetes";

/// What each of its ports had when it last had any backend, by the port's full name.
#[derive(Debug, Default)]
pub(super) struct LastKnown(Box<[(Arc<str>, PerFamily<Known>)]>);

/// The last sets of one port and family; `None` if there was none with a backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) cluster_wide: Option<Backends>,
    pub(super) local: Option<Backends>,
    /// One of them is not what the port has now, which is nothing.
    stands_in: bool,
}

impl LastKnown {
    /// Those of a port in one family.
    pub(super) fn of<A: Address>(&self, port: &Port) -> Option<&Known> {
        let known = self.0.iter().find(|known| *known.0 == *port.full_name);
        known.map(|(_, sets)| if A::IS_IPV4 { &sets.v4 } else { &sets.v6 })
    }

    /// Whether anything is in force that is no more than remembered.
    pub(super) fn stands_in(&self) -> bool {
        self.0.iter().any(|(_, known)| known.v4.stands_in || known.v6.stands_in)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let sets = self.0.iter().flat_map(|(_, sets)| [&sets.v4, &sets.v6]);
        let backends = sets.flat_map(|sets| sets.cluster_wide.iter().chain(&sets.local));
        backends.flat_map(Backends::iter).map(|backend| backend.ip())
    }
}

impl Model {
    /// Takes note of what the API server's Service has now. To be called after each event that
    /// touches it: what is folded away before the caller asks was known all the same.
    pub(super) fn follow_api_server(&mut self) {
        let Some(entry) = self.services.get_mut(SERVICE) else { return };
        let last = latest(entry, self.node.zone.as_deref());
        let addresses = entry.slices.iter().flat_map(|slice| slice.endpoints.addresses());
        let addresses: Vec<_> = addresses.chain(last.addresses()).collect();
        entry.last_known = Some(Box::new(last));
        let changed = self.node.set_api_server(addresses);
        self.touch_users(&changed);
    }

    /// Marks the Services that name one of these addresses.
    pub(super) fn touch_users(&mut self, addresses: &[IpAddr]) {
        for &address in addresses {
            self.touched.extend(self.uses.users(address, Use::Named).cloned());
        }
    }
}

/// What the ports have now; where that is nothing, what they had.
fn latest(entry: &Entry, zone: Option<&str>) -> LastKnown {
    let ports = entry.spec.as_ref().map_or(&[][..], |spec| &*spec.ports);
    let sets = ports.iter().map(|port| {
        let v4 = latest_in::<Ipv4Addr>(entry, port, zone);
        let v6 = latest_in::<Ipv6Addr>(entry, port, zone);
        (port.full_name.clone(), PerFamily { v4, v6 })
    });
    LastKnown(sets.collect())
}

fn latest_in<A: Address>(entry: &Entry, port: &Port, zone: Option<&str>) -> Known {
    let Some(spec) = entry.spec.as_ref().filter(|spec| spec.has_family::<A>()) else {
        return Known::default();
    };
    let before = entry.last_known.as_ref().and_then(|last| last.of::<A>(port));
    let before = before.cloned().unwrap_or_default();
    let candidates = Candidates::<A>::new(&entry.slices, &port.name, port.protocol);
    let mut stands_in = false;
    let mut or_before = |set: Backends, before: Option<Backends>| {
        let now = Some(set).filter(|set| !set.is_empty());
        stands_in |= now.is_none() && before.is_some();
        now.or(before)
    };
    let cluster_wide = or_before(candidates.cluster_wide(zone), before.cluster_wide);
    let local = if spec.local { or_before(candidates.local(), before.local) } else { None };
    Known { cluster_wide, local, stands_in }
}
