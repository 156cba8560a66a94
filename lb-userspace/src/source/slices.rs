//! EndpointSlices that a source makes itself, from whatever says which endpoints a Service has.
//!
//! This module must never choose among endpoints: that is [`crate::model`].

use std::collections::BTreeMap;

use k8s_openapi::{
    api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// Names the Service that a slice belongs to.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// An address family. A slice has endpoints of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// As Services and slices write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// That of an address; `None` for an empty text or `None`. Whether the address is one at all is
    /// for the model to say, which tells of those that are not.
    pub(super) fn of(address: &str) -> Option<Self> {
        if address.contains(':') {
            Some(Self::V6)
        } else {
            address.contains('.').then_some(Self::V4)
        }
    }

    pub(super) fn has(self, address: &str) -> bool {
        Self::of(address) == Some(self)
    }
}

/// A port of a slice. Ordered, so that endpoints with the same ports share a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) protocol: String,
}

/// A slice of the Service with this namespace and name. `origin` says in its name what it was made
/// from. A made name contains a colon, which no object's name may, and depends on the Service, the
/// family and the ports alone, so that a slice keeps its name while its endpoints change.
pub(super) fn slice(
    (namespace, service): (&str, &str),
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

pub(super) fn protocol(text: Option<&str>) -> String {
    text.unwrap_or("TCP").to_owned()
}
