//! `Endpoints` objects as EndpointSlices, as the endpointslice-mirroring controller makes them.
//!
//! This module must never look at Services or Pods.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints},
    discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
};

use super::slices::{Family, Port, protocol, slice};

/// Marks a Service without a ClusterIP, and what is made of it.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// The slices of one `Endpoints` object, given by namespace and name, in a family: one for each
/// different list of ports.
///
/// The label `endpointslice.kubernetes.io/skip-mirror` says that whoever wrote the object wrote
/// slices as well, and does not count here: whoever calls this does not read those.
pub(super) fn slices(
    name: (&str, &str),
    endpoints: &Endpoints,
    family: Family,
) -> Vec<EndpointSlice> {
    let labels = endpoints.metadata.labels.as_ref();
    if labels.is_some_and(|labels| labels.contains_key(HEADLESS_LABEL)) {
        return Vec::new();
    }
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let group = groups.entry(ports(subset)).or_default();
        let mut add = |addresses: &Option<Vec<EndpointAddress>>, ready| {
            let addresses = addresses.iter().flatten().filter(|address| family.has(&address.ip));
            group.extend(addresses.map(|address| endpoint(address, ready)));
        };
        add(&subset.addresses, true);
        add(&subset.not_ready_addresses, false);
    }
    groups.retain(|_, endpoints| !endpoints.is_empty());
    let slice =
        |(ports, endpoints): (Vec<_>, _)| slice(name, "endpoints", family, &ports, endpoints);
    groups.into_iter().map(slice).collect()
}

/// Whether there is an address of this family, ready or not.
pub(super) fn has(endpoints: &Endpoints, family: Family) -> bool {
    let subsets = endpoints.subsets.iter().flatten();
    let mut addresses = subsets
        .flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses).flatten());
    addresses.any(|address| family.has(&address.ip))
}

fn ports(subset: &EndpointSubset) -> Vec<Port> {
    let mut ports: Vec<_> = subset
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            number: port.port,
            protocol: protocol(port.protocol.as_deref()),
        })
        .collect();
    ports.sort();
    ports
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        // An address is there for a Pod, which is not ready since it cannot serve.
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(ready),
            ..Default::default()
        }),
        node_name: address.node_name.clone(),
        hostname: address.hostname.clone(),
        ..Endpoint::default()
    }
}
