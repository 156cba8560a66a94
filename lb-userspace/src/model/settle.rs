//! From what is known to what the caller is told: the Services and frontends that were touched, each
//! once, against what was told before.
//!
//! This module must never take in an event.

use std::{net::IpAddr, sync::Arc};

use super::{
    Changes, Entry, Frontend, FrontendKey, FrontendKind, Model, Notice, Target, claims::Claim,
    entry::Place, news, node::Node, service::Spec, uses::Uses, wants::wants,
};

impl Model {
    /// What the caller does not know yet, folded: a frontend that changed twice is told once, and
    /// one that changed back not at all; the same holds for backends that stopped serving. Nothing
    /// before [`crate::source::Event::Synced`], since a Service must not be published while its
    /// endpoints may still come.
    pub fn take_changes(&mut self) -> Changes {
        if !self.synced {
            return Changes::default();
        }
        let mut changes =
            Changes { notices: std::mem::take(&mut self.notices), ..Changes::default() };
        let mut keys: Vec<_> = std::mem::take(&mut self.unclaimed).into_iter().collect();
        let mut touched: Vec<_> = std::mem::take(&mut self.touched).into_iter().collect();
        touched.sort_unstable();
        for service in touched {
            let Some(entry) = self.services.get_mut(&service) else { continue };
            let place = Place { zone: self.node.zone.as_deref(), track: self.node.track };
            entry.refresh(place, &mut changes.retired);
            if let Some(spec) = &entry.spec {
                keys.extend(wants(spec, &self.node).map(|want| want.key));
                let circumstances = circumstances(&service, entry, spec, &self.node, &self.uses);
                changes.notices.extend(news(Some(&entry.reported), &circumstances));
                entry.reported = circumstances;
            } else {
                entry.reported = Box::default();
            }
            if entry.is_empty() {
                self.services.remove(&service);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let allowed = |claim: &Claim| {
                !is_named(claim.kind) || hostile(key.address, &self.node, &self.uses).is_none()
            };
            let frontend = |claim: &Claim| {
                let entry = self.services.get(&claim.service)?;
                frontend(key, claim, entry, &self.node)
            };
            self.claims.settle(key, allowed, frontend, &mut changes);
        }
        changes.retired.sort_unstable();
        changes
    }
}

/// The frontend of a claim as it is now.
fn frontend(key: FrontendKey, claim: &Claim, entry: &Entry, node: &Node) -> Option<Frontend> {
    let spec = entry.spec.as_ref()?;
    let kind = claim.kind;
    if kind == FrontendKind::Known {
        let (name, target) = (claim.service.clone(), Target::Pass);
        return Some(Frontend { name, kind, affinity: 0, host_only: false, target });
    }
    let pass = match kind {
        FrontendKind::ClusterIp => node.keeps(key.address),
        FrontendKind::LoadBalancer => *spec.restricted.of(key.address),
        _ => false,
    };
    let target = if pass {
        Target::Pass
    } else {
        let local = spec.local && kind == FrontendKind::ClusterIp;
        Target::Balance(entry.backends(claim.port, key.address, local)?.clone())
    };
    Some(Frontend {
        name: spec.ports.get(claim.port)?.full_name.clone(),
        kind,
        affinity: spec.affinity,
        host_only: key.address.is_loopback(),
        target,
    })
}

/// What a Service will not get because of the node, of other Services, or of its own past.
fn circumstances(
    service: &Arc<str>,
    entry: &Entry,
    spec: &Spec,
    node: &Node,
    uses: &Uses,
) -> Box<[Notice]> {
    if spec.ports.is_empty() {
        return Box::default();
    }
    let kept = spec.cluster_ips.iter().filter(|address| node.keeps(**address));
    let kept = kept.map(|&address| Notice::LocalInterface { service: service.clone(), address });
    let named = spec.named_addresses().filter_map(|(kind, address)| {
        let reason = hostile(address, node, uses)?;
        let address = address.to_string().into();
        Some(Notice::Address { service: service.clone(), kind, address, reason })
    });
    let last_known = entry.last_known.as_ref().is_some_and(|last| last.stands_in());
    let last_known = last_known.then(|| Notice::LastKnown { service: service.clone() });
    kept.chain(named).chain(last_known).collect()
}

/// Whether the Service itself named the address of such a frontend.
fn is_named(kind: FrontendKind) -> bool {
    matches!(kind, FrontendKind::LoadBalancer | FrontendKind::ExternalIp)
}

/// Why a Service may not take an address over by naming it, if so.
fn hostile(address: IpAddr, node: &Node, uses: &Uses) -> Option<&'static str> {
    let cluster_ip = || uses.is_cluster_ip(address).then_some("it is a ClusterIP");
    node.protects(address).or_else(cluster_ip)
}
