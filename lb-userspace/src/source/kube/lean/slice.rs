//! An EndpointSlice: of each endpoint its first address, its conditions, its node's name and its
//! hints. Point 3 of the semantics says why one address is enough.

use std::fmt;

use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::{Metadata, Trim};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct ReadSlice {
    metadata: Metadata,
    #[serde(default)]
    address_type: String,
    /// Absent, and not only empty, where there is none.
    #[serde(default)]
    endpoints: Option<Vec<ReadEndpoint>>,
    #[serde(default)]
    ports: Option<Vec<EndpointPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadEndpoint {
    #[serde(default)]
    addresses: First,
    conditions: Option<EndpointConditions>,
    node_name: Option<String>,
    hints: Option<EndpointHints>,
}

/// The first of some strings.
#[derive(Default)]
struct First(Option<String>);

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;

        impl<'de> Visitor<'de> for Strings {
            type Value = First;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_unit<E>(self) -> Result<First, E> {
                Ok(First(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First, A::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }

        deserializer.deserialize_any(Strings)
    }
}

impl From<ReadSlice> for EndpointSlice {
    fn from(read: ReadSlice) -> Self {
        let endpoint = |read: ReadEndpoint| Endpoint {
            addresses: read.addresses.0.into_iter().collect(),
            conditions: read.conditions,
            node_name: read.node_name,
            hints: read.hints,
            ..Endpoint::default()
        };
        Self {
            metadata: read.metadata.into(),
            address_type: read.address_type,
            endpoints: read.endpoints.map(|list| list.into_iter().map(endpoint).collect()),
            ports: read.ports,
        }
    }
}

impl Trim for EndpointSlice {
    type Read = ReadSlice;
}
