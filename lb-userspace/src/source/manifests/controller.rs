//! The part of the cluster's controllers that makes EndpointSlices.
//!
//! For each family of a Service what was given by hand counts, the most precise first: its
//! EndpointSlices as they are; else its Endpoints, mirrored; else the Pods that its selector matches.
//! This module is pure, and must never choose among endpoints: that is [`crate::model`].

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::objects::{Name, Objects};
use crate::model::service_of;

mod mirror;
mod selector;
#[cfg(test)]
mod tests;

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// The slices of all Services, in families in which they have none by hand. Their names contain a
/// colon, which no object's name may, and depend on the Service, the family and the ports alone, so
/// that a slice keeps its name while its endpoints change.
pub(super) fn slices(objects: &Objects<'_>) -> Vec<EndpointSlice> {
    let by_hand = given_slices(objects);
    let pods = selector::PodIndex::new(&objects.pods);
    let mut slices = Vec::new();
    for (&name, endpoints) in &objects.endpoints {
        for family in Family::BOTH.into_iter().filter(|family| !by_hand.contains(&(name, *family)))
        {
            slices.extend(mirror::slices(name, endpoints, family));
        }
    }
    for (&name, service) in &objects.services {
        let endpoints = objects.endpoints.get(&name);
        for (index, family) in families(service).into_iter().enumerate() {
            // Endpoints are written for a Service's first family, whether there are any just now or
            // not.
            let mirrored = endpoints.is_some_and(|given| index == 0 || mirror::has(given, family));
            if !mirrored && !by_hand.contains(&(name, family)) {
                slices.extend(selector::slices(name, service, family, &pods));
            }
        }
    }
    slices
}

/// The Services that slices given by hand belong to, with the slices' families. A slice that is never
/// used, or is of the other family, must not stand in the way of those made here.
fn given_slices<'a>(objects: &Objects<'a>) -> BTreeSet<(Name<'a>, Family)> {
    let given = objects.slices.iter().filter_map(|(&(namespace, _), &slice)| {
        let family = Family::BOTH.into_iter().find(|family| family.name() == slice.address_type)?;
        Some(((namespace, service_of(slice)?), family))
    });
    given.collect()
}

/// The families in which a Service has endpoints: those that it says, else those of its ClusterIPs.
/// One without a ClusterIP has no frontends.
fn families(service: &Service) -> Vec<Family> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let said = spec.ip_families.iter().flatten();
    let mut families: Vec<_> = said
        .filter_map(|name| Family::BOTH.into_iter().find(|family| family.name() == *name))
        .collect();
    if families.is_empty() {
        let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        families.extend(addresses.filter_map(|address| Family::of(address)));
    }
    let mut seen = BTreeSet::new();
    families.retain(|family| seen.insert(*family));
    families
}

/// An address family. A slice has endpoints of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// As Services and slices write it.
    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// That of an address; `None` for an empty text or `None`. Whether the address is one at all is
    /// for the model to say, which tells of those that are not.
    fn of(address: &str) -> Option<Self> {
        if address.contains(':') {
            Some(Self::V6)
        } else {
            address.contains('.').then_some(Self::V4)
        }
    }

    fn has(self, address: &str) -> bool {
        Self::of(address) == Some(self)
    }
}

/// A port of a slice. Ordered, so that endpoints with the same ports share a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    number: i32,
    protocol: String,
}

/// A slice. `origin` says in its name what it was made from.
fn slice(
    (namespace, service): Name<'_>,
    origin: &str,
    family: Family,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let suffix: Vec<_> = ports
        .iter()
        .map(|Port { name, number, protocol }| format!("{name}={number}/{protocol}"))
        .collect();
    let labels = BTreeMap::from([(SERVICE_LABEL.to_owned(), service.to_owned())]);
    let kind = match family {
        Family::V4 => origin.to_owned(),
        Family::V6 => format!("{origin}6"),
    };
    EndpointSlice {
        address_type: family.name().to_owned(),
        endpoints: Some(endpoints),
        metadata: ObjectMeta {
            name: Some(format!("{service}:{kind}:{}", suffix.join(","))),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ports: Some(ports.iter().map(Port::to_api).collect()),
    }
}

impl Port {
    fn to_api(&self) -> EndpointPort {
        EndpointPort {
            app_protocol: None,
            name: Some(self.name.clone()),
            port: Some(self.number),
            protocol: Some(self.protocol.clone()),
        }
    }
}

fn protocol(text: Option<&str>) -> String {
    text.unwrap_or("TCP").to_owned()
}

/// Whether the Service asks for Pods that are not ready as well.
fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}
