//! The part of the cluster's controllers that makes EndpointSlices.
//!
//! For each family of a Service what was given by hand counts, the most precise first: its
//! EndpointSlices as they are; else its Endpoints, mirrored; else the Pods that its selector matches.
//! This module is pure, and must never choose among endpoints: that is [`crate::model`].

use std::collections::BTreeSet;

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::objects::{Name, Objects};
use crate::{
    model::service_of,
    source::{mirror, slices::Family},
};

mod selector;
#[cfg(test)]
mod tests;

/// The slices of all Services, in families in which they have none by hand.
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

/// Whether the Service asks for Pods that are not ready as well.
fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}
