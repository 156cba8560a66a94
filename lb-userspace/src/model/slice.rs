//! What is kept of an EndpointSlice: its endpoints, and its ports once.
//!
//! This module must never decide which endpoints receive connections: that is
//! [`super::eligible`].

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{
    Endpoint as ApiEndpoint, EndpointPort as ApiPort, EndpointSlice,
};

use super::{
    Protocol,
    address::unusable,
    endpoint::{Endpoint, Endpoints},
    family::Address,
    labels::is_for_others,
    notice::Notice,
    service::read_protocol,
};
use crate::source::SERVICE_LABEL;

/// The part of an EndpointSlice that counts.
#[derive(Debug, PartialEq)]
pub(super) struct Slice {
    /// `namespace/name`
    pub(super) name: Arc<str>,
    /// TCP and UDP ports.
    pub(super) ports: Box<[Port]>,
    /// Those with a usable address.
    pub(super) endpoints: Endpoints,
    /// The different lists of zones that endpoints are hinted for.
    zones: ZoneLists,
    /// What was left out.
    pub(super) notices: Box<[Notice]>,
}

type ZoneLists = Box<[Box<[Box<str>]>]>;

/// A port of a slice.
#[derive(Debug, PartialEq)]
pub(super) struct Port {
    /// Empty for an unnamed port.
    pub(super) name: Box<str>,
    /// Where the Pods listen.
    pub(super) number: u16,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
}

/// The Service that a slice belongs to, if the slice counts at all.
pub(crate) fn service_of(object: &EndpointSlice) -> Option<&str> {
    if !matches!(&*object.address_type, "IPv4" | "IPv6") || is_for_others(&object.metadata) {
        return None;
    }
    let labels = object.metadata.labels.as_ref()?;
    labels.get(SERVICE_LABEL).map(String::as_str).filter(|service| !service.is_empty())
}

impl Slice {
    /// Reads a slice that [`service_of`] lets count. `name` is its `namespace/name`, `node` the
    /// name of this node.
    pub(super) fn new(name: Arc<str>, object: &EndpointSlice, node: Option<&str>) -> Self {
        let mut reader = Reader { name: &name, node, zones: Vec::new(), notices: Vec::new() };
        let ports = object.ports.iter().flatten().filter_map(|port| reader.port(port)).collect();
        let endpoints = object.endpoints.as_deref().unwrap_or_default();
        let endpoints = if object.address_type == "IPv4" {
            Endpoints::V4(reader.endpoints(endpoints))
        } else {
            Endpoints::V6(reader.endpoints(endpoints))
        };
        let (zones, notices) = (reader.zones.into(), reader.notices.into());
        Self { name, ports, endpoints, zones, notices }
    }

    /// Whether `endpoint`, which is one of this slice's, is hinted for `zone`.
    pub(super) fn is_hinted_for_zone<A>(&self, endpoint: &Endpoint<A>, zone: &str) -> bool {
        let list = (endpoint.zones as usize).checked_sub(1).and_then(|index| self.zones.get(index));
        list.is_some_and(|list| list.iter().any(|name| **name == *zone))
    }

    /// Whether a change of this node's zone can change anything here.
    pub(super) fn has_zone_hints(&self) -> bool {
        !self.zones.is_empty()
    }
}

struct Reader<'a> {
    name: &'a Arc<str>,
    node: Option<&'a str>,
    zones: Vec<Box<[Box<str>]>>,
    notices: Vec<Notice>,
}

impl Reader<'_> {
    /// A port without a name or number is ignored; the API server fills in both where it can.
    fn port(&mut self, port: &ApiPort) -> Option<Port> {
        let (name, number) = (port.name.as_deref()?, port.port.filter(|number| *number != 0)?);
        let protocol = read_protocol(port.protocol.as_deref())?;
        let Ok(number) = u16::try_from(number) else {
            self.notices.push(Notice::EndpointPort { slice: self.name.clone(), port: number });
            return None;
        };
        Some(Port { name: name.into(), number, protocol })
    }

    fn endpoints<A: Address>(&mut self, objects: &[ApiEndpoint]) -> Box<[Endpoint<A>]> {
        let mut endpoints = Vec::with_capacity(objects.len());
        for object in objects {
            let Some(text) = object.addresses.first() else { continue };
            match usable::<A>(text) {
                Ok(address) => {
                    let zones = self.zone_hint(object);
                    endpoints.push(Endpoint::new(address, zones, object, self.node));
                }
                Err(reason) => self.notices.push(Notice::Endpoint {
                    slice: self.name.clone(),
                    address: text.as_str().into(),
                    reason,
                }),
            }
        }
        endpoints.into()
    }

    /// The endpoint's list of zones as [`Endpoint::zones`] has it. A slice has few different lists.
    fn zone_hint(&mut self, endpoint: &ApiEndpoint) -> u32 {
        let hints = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_deref());
        let hints = hints.unwrap_or_default();
        if hints.is_empty() {
            return 0;
        }
        let names = || hints.iter().map(|hint| hint.name.as_str());
        let index = self
            .zones
            .iter()
            .position(|list| list.iter().map(|name| &**name).eq(names()))
            .unwrap_or_else(|| {
                self.zones.push(names().map(Box::from).collect());
                self.zones.len() - 1
            });
        u32::try_from(index + 1).unwrap_or(0)
    }
}

fn usable<A: Address>(text: &str) -> Result<A, &'static str> {
    let address = A::parse(text).ok_or(A::NO_ADDRESS)?;
    unusable(address.into()).map_or(Ok(address), Err)
}
