//! The part of the cluster's controllers that makes EndpointSlices.
//!
//! For each Service what was given by hand counts, the most precise first: its EndpointSlices as
//! they are; else its Endpoints, mirrored; else the Pods that its selector matches. This module is
//! pure, and must never choose among endpoints: that is [`crate::model`].

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

/// The slices of all Services that have none by hand. Their names contain a colon, which no
/// object's name may, and depend on the Service and the ports alone, so that a slice keeps its
/// name while its endpoints change.
pub(super) fn slices(objects: &Objects<'_>) -> Vec<EndpointSlice> {
    let by_hand = services_with_slices(objects);
    let pods = selector::PodIndex::new(&objects.pods);
    let mut slices = Vec::new();
    for (&name, endpoints) in &objects.endpoints {
        if !by_hand.contains(&name) {
            slices.extend(mirror::slices(name, endpoints));
        }
    }
    for (&name, service) in &objects.services {
        if !by_hand.contains(&name) && !objects.endpoints.contains_key(&name) {
            slices.extend(selector::slices(name, service, &pods));
        }
    }
    slices
}

/// The Services that slices given by hand belong to. A slice that is never used, or is of the other
/// family than those made here, must not stand in the way of these.
fn services_with_slices<'a>(objects: &Objects<'a>) -> BTreeSet<Name<'a>> {
    objects
        .slices
        .iter()
        .filter(|(_, slice)| slice.address_type == "IPv4")
        .filter_map(|(&(namespace, _), &slice)| Some((namespace, service_of(slice)?)))
        .collect()
}

/// A port of a slice. Ordered, so that endpoints with the same ports share a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    number: i32,
    protocol: String,
}

/// A slice of IPv4 endpoints. `origin` says in its name what it was made from.
fn slice(
    (namespace, service): Name<'_>,
    origin: &str,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let suffix: Vec<_> = ports
        .iter()
        .map(|Port { name, number, protocol }| format!("{name}={number}/{protocol}"))
        .collect();
    let labels = BTreeMap::from([(SERVICE_LABEL.to_owned(), service.to_owned())]);
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        metadata: ObjectMeta {
            name: Some(format!("{service}:{origin}:{}", suffix.join(","))),
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

/// Whether an address can be in a slice that is made here: those are of IPv4.
fn is_ipv4(address: &str) -> bool {
    !address.contains(':')
}

fn protocol(text: Option<&str>) -> String {
    text.unwrap_or("TCP").to_owned()
}

/// Whether the Service asks for Pods that are not ready as well.
fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}
