//! The Pods that a Service's selector matches, as the endpointslice controller finds them.
//!
//! This module must never look at slices or Endpoints given by hand.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Pod, PodStatus, Service, ServicePort},
        discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use rustc_hash::FxHashMap;

use super::publishes_not_ready;
use crate::source::{
    manifests::objects::Name,
    slices::{Family, Port, protocol, slice},
};

/// Pods by namespace, label and value, so that a Service costs what it selects and not what the
/// namespace holds.
pub(super) struct PodIndex<'a> {
    by_label: FxHashMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>,
}

impl<'a> PodIndex<'a> {
    pub(super) fn new(pods: &BTreeMap<Name<'a>, &'a Arc<Pod>>) -> Self {
        let mut by_label: FxHashMap<_, Vec<&Pod>> = FxHashMap::default();
        for (&(namespace, _), &pod) in pods {
            for (label, value) in pod.metadata.labels.iter().flatten() {
                by_label.entry((namespace, &**label, &**value)).or_default().push(pod);
            }
        }
        Self { by_label }
    }

    /// The Pods that have all of these labels, by name. None without a label to ask for.
    fn matching(
        &'a self,
        namespace: &'a str,
        selector: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Pod> {
        let lists = selector.iter().map(|(label, value)| {
            self.by_label.get(&(namespace, &**label, &**value)).map_or(&[][..], Vec::as_slice)
        });
        let shortest = lists.min_by_key(|list| list.len()).unwrap_or_default();
        shortest.iter().copied().filter(|pod| {
            let labels = pod.metadata.labels.as_ref();
            selector
                .iter()
                .all(|(label, value)| labels.and_then(|labels| labels.get(label)) == Some(value))
        })
    }
}

/// The slices of a Service's Pods in a family, one for each different list of ports: a named
/// `targetPort` may be another number in another Pod.
pub(super) fn slices<'a>(
    name: Name<'a>,
    service: &'a Service,
    family: Family,
    pods: &'a PodIndex<'a>,
) -> Vec<EndpointSlice> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(selector) = &spec.selector else { return Vec::new() };
    let service_ports = spec.ports.as_deref().unwrap_or_default();
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods.matching(name.0, selector) {
        let Some(endpoint) = endpoint(pod, family, publishes_not_ready(service)) else { continue };
        let mut ports: Vec<_> =
            service_ports.iter().filter_map(|port| resolve(port, pod)).collect();
        ports.sort();
        groups.entry(ports).or_default().push(endpoint);
    }
    let slice = |(ports, endpoints): (Vec<_>, _)| slice(name, "pods", family, &ports, endpoints);
    groups.into_iter().map(slice).collect()
}

/// The port of this Pod behind a Service's port; `None` if it names one that the Pod lacks.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = protocol(port.protocol.as_deref());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => container_port(pod, name, &protocol)?,
    };
    Some(Port { name: port.name.clone().unwrap_or_default(), number, protocol })
}

/// Looks among the containers, and among the init containers that go on running beside them.
fn container_port(pod: &Pod, name: &str, protocol_wanted: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_deref() == Some(name)
                && protocol(port.protocol.as_deref()) == protocol_wanted
        })
        .map(|port| port.container_port)
}

/// A Pod as an endpoint; `None` if it has no address of this family or has run to its end.
fn endpoint(pod: &Pod, family: Family, publish_not_ready: bool) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let ips = status.pod_ips.iter().flatten().map(|ip| &ip.ip);
    let address = ips.chain(&status.pod_ip).find(|ip| family.has(ip))?;
    let serving = is_ready(status);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    Some(Endpoint {
        addresses: vec![address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(publish_not_ready || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ..Endpoint::default()
    })
}

/// The condition `Ready`. A Pod that was written by hand, with an address but without any
/// condition, is meant to be ready.
fn is_ready(status: &PodStatus) -> bool {
    match status.conditions.as_deref() {
        None | Some([]) => true,
        Some(conditions) => conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
    }
}
