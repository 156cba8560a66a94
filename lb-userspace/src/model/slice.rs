//! What is kept of an EndpointSlice: 12 bytes an endpoint, and its ports once.
//!
//! This module must never decide which endpoints receive connections: that is
//! [`super::eligible`].

use std::{net::Ipv4Addr, sync::Arc};

use k8s_openapi::api::discovery::v1::{
    Endpoint as ApiEndpoint, EndpointPort as ApiPort, EndpointSlice,
};

use super::{
    address::{parse_ipv4, unusable},
    labels::is_for_others,
    notice::Notice,
};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The part of an EndpointSlice that counts.
#[derive(Debug, PartialEq)]
pub(super) struct Slice {
    /// `namespace/name`
    pub(super) name: Arc<str>,
    /// TCP ports.
    pub(super) ports: Box<[Port]>,
    /// IPv4 endpoints with a usable address.
    pub(super) endpoints: Box<[Endpoint]>,
    /// The different lists of zones that endpoints are hinted for.
    zones: Box<[Box<[Box<str>]>]>,
    /// What was left out.
    pub(super) notices: Box<[Notice]>,
}

/// A TCP port of a slice.
#[derive(Debug, PartialEq)]
pub(super) struct Port {
    /// Empty for an unnamed port.
    pub(super) name: Box<str>,
    /// Where the Pods listen.
    pub(super) number: u16,
}

/// An endpoint. What depends on this node's name is resolved when the slice is read, since the name
/// of the node never changes; its zone may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: Ipv4Addr,
    /// One more than the index into [`Slice::zones`]; 0 without a zone hint.
    zones: u32,
    flags: u8,
}

const _: () = assert!(size_of::<Endpoint>() == 12);

impl Endpoint {
    const READY: u8 = 1;
    const SERVING: u8 = 1 << 1;
    const TERMINATING: u8 = 1 << 2;
    const LOCAL: u8 = 1 << 3;
    const NODE_HINT: u8 = 1 << 4;
    const NODE_HINT_HERE: u8 = 1 << 5;

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_ready(self) -> bool {
        self.has(Self::READY)
    }

    pub(super) fn is_serving(self) -> bool {
        self.has(Self::SERVING)
    }

    pub(super) fn is_terminating(self) -> bool {
        self.has(Self::TERMINATING)
    }

    /// On this node.
    pub(super) fn is_local(self) -> bool {
        self.has(Self::LOCAL)
    }

    /// Hinted for some nodes.
    pub(super) fn has_node_hint(self) -> bool {
        self.has(Self::NODE_HINT)
    }

    /// Hinted for this node, perhaps among others.
    pub(super) fn is_hinted_for_node(self) -> bool {
        self.has(Self::NODE_HINT_HERE)
    }

    /// Hinted for some zones.
    pub(super) fn has_zone_hint(self) -> bool {
        self.zones != 0
    }
}

/// The Service that a slice belongs to, if the slice counts at all.
pub(crate) fn service_of(object: &EndpointSlice) -> Option<&str> {
    if object.address_type != "IPv4" || is_for_others(&object.metadata) {
        return None;
    }
    let labels = object.metadata.labels.as_ref()?;
    labels.get(SERVICE_LABEL).map(String::as_str).filter(|service| !service.is_empty())
}

impl Slice {
    /// Reads a slice. `name` is its `namespace/name`, `node` the name of this node.
    pub(super) fn new(name: Arc<str>, object: &EndpointSlice, node: Option<&str>) -> Self {
        let mut notices = Vec::new();
        let ports = object
            .ports
            .iter()
            .flatten()
            .filter_map(|port| read_port(port, &name, &mut notices))
            .collect();
        let mut zones = Vec::new();
        let api_endpoints = object.endpoints.as_deref().unwrap_or_default();
        let mut endpoints = Vec::with_capacity(api_endpoints.len());
        for endpoint in api_endpoints {
            let Some(text) = endpoint.addresses.first() else { continue };
            match usable_address(text) {
                Ok(address) => endpoints.push(Endpoint {
                    address,
                    zones: zone_hint(endpoint, &mut zones),
                    flags: flags(endpoint, node),
                }),
                Err(reason) => notices.push(Notice::Endpoint {
                    slice: name.clone(),
                    address: text.as_str().into(),
                    reason,
                }),
            }
        }
        Self {
            name,
            ports,
            endpoints: endpoints.into(),
            zones: zones.into(),
            notices: notices.into(),
        }
    }

    /// Whether `endpoint`, which is one of this slice's, is hinted for `zone`.
    pub(super) fn is_hinted_for_zone(&self, endpoint: Endpoint, zone: &str) -> bool {
        let list = (endpoint.zones as usize).checked_sub(1).and_then(|index| self.zones.get(index));
        list.is_some_and(|list| list.iter().any(|name| **name == *zone))
    }

    /// Whether a change of this node's zone can change anything here.
    pub(super) fn has_zone_hints(&self) -> bool {
        !self.zones.is_empty()
    }
}

fn usable_address(text: &str) -> Result<Ipv4Addr, &'static str> {
    let address = parse_ipv4(text).ok_or("it is no IPv4 address")?;
    unusable(address).map_or(Ok(address), Err)
}

/// A port without a name or number is ignored; the API server fills in both where it can.
fn read_port(port: &ApiPort, slice: &Arc<str>, notices: &mut Vec<Notice>) -> Option<Port> {
    let (name, number) = (port.name.as_deref()?, port.port?);
    if number == 0 || port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
        return None;
    }
    let Ok(number) = u16::try_from(number) else {
        notices.push(Notice::EndpointPort { slice: slice.clone(), port: number });
        return None;
    };
    Some(Port { name: name.into(), number })
}

fn flags(endpoint: &ApiEndpoint, node: Option<&str>) -> u8 {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(true);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    let local = node.is_some() && endpoint.node_name.as_deref() == node;
    let for_nodes = endpoint.hints.as_ref().and_then(|hints| hints.for_nodes.as_deref());
    let for_nodes = for_nodes.unwrap_or_default();
    let for_this = node.is_some_and(|node| for_nodes.iter().any(|hint| hint.name == node));
    [
        (ready, Endpoint::READY),
        (serving, Endpoint::SERVING),
        (terminating, Endpoint::TERMINATING),
        (local, Endpoint::LOCAL),
        (!for_nodes.is_empty(), Endpoint::NODE_HINT),
        (for_this, Endpoint::NODE_HINT_HERE),
    ]
    .into_iter()
    .fold(0, |flags, (holds, flag)| if holds { flags | flag } else { flags })
}

/// The endpoint's list of zones as [`Endpoint::zones`] has it. A slice has few different lists.
fn zone_hint(endpoint: &ApiEndpoint, known: &mut Vec<Box<[Box<str>]>>) -> u32 {
    let hints = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_deref());
    let hints = hints.unwrap_or_default();
    if hints.is_empty() {
        return 0;
    }
    let names = || hints.iter().map(|hint| hint.name.as_str());
    let index = known
        .iter()
        .position(|list| list.iter().map(|name| &**name).eq(names()))
        .unwrap_or_else(|| {
            known.push(names().map(Box::from).collect());
            known.len() - 1
        });
    u32::try_from(index + 1).unwrap_or(0)
}
