//! `Endpoints`, without the Pods that its addresses name.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use serde::Deserialize;

use super::{Metadata, Trim};

#[derive(Deserialize)]
pub(in super::super) struct ReadEndpoints {
    metadata: Metadata,
    #[serde(default)]
    subsets: Option<Vec<ReadSubset>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadSubset {
    addresses: Option<Vec<ReadAddress>>,
    not_ready_addresses: Option<Vec<ReadAddress>>,
    ports: Option<Vec<EndpointPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadAddress {
    ip: String,
    node_name: Option<String>,
}

impl From<ReadAddress> for EndpointAddress {
    fn from(ReadAddress { ip, node_name }: ReadAddress) -> Self {
        Self { ip, node_name, ..Self::default() }
    }
}

impl From<ReadEndpoints> for Endpoints {
    fn from(read: ReadEndpoints) -> Self {
        let addresses = |list: Option<Vec<ReadAddress>>| {
            list.map(|list| list.into_iter().map(Into::into).collect())
        };
        let subset = |read: ReadSubset| EndpointSubset {
            addresses: addresses(read.addresses),
            not_ready_addresses: addresses(read.not_ready_addresses),
            ports: read.ports,
        };
        Self {
            metadata: read.metadata.into(),
            subsets: read.subsets.map(|list| list.into_iter().map(subset).collect()),
        }
    }
}

impl Trim for Endpoints {
    type Read = ReadEndpoints;
}
