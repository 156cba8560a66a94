//! Objects as a watch takes them in: only what counts is kept of what the server sends.
//!
//! A cluster's slices are tens of megabytes of JSON, most of it names of Pods, owners and managers
//! of fields. All that is passed over unread. This module must never judge what it keeps: what is
//! kept is as the server wrote it.

mod endpoints;
mod metadata;
mod slice;

use std::{borrow::Cow, fmt::Debug};

use k8s_openapi::{
    api::{
        core::v1::{
            Namespace, Node, NodeStatus, Pod, PodSpec, PodStatus, Service, ServiceSpec,
            ServiceStatus,
        },
        networking::v1::{ServiceCIDR, ServiceCIDRSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use self::metadata::Metadata;

/// An object of which only what counts was read.
#[derive(Clone, Debug)]
pub(super) struct Lean<T>(pub(super) T);

/// A kind of object, and how it is read.
pub(super) trait Trim: Resource<DynamicType = ()> + Clone + Debug + Send + 'static {
    /// What is read.
    type Read: DeserializeOwned + Into<Self>;
}

impl<'de, T: Trim> Deserialize<'de> for Lean<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::Read::deserialize(deserializer).map(|read| Self(read.into()))
    }
}

impl<T: Trim> Resource for Lean<T> {
    type DynamicType = ();
    type Scope = T::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        T::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        T::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        T::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Reads an object with these parts besides its metadata.
macro_rules! trim {
    ($kind:ident, $read:ident { $($part:ident: $type:ty),* }) => {
        #[derive(Deserialize)]
        pub(super) struct $read {
            metadata: Metadata,
            $(#[serde(default)] $part: Option<$type>,)*
        }

        impl From<$read> for $kind {
            fn from(read: $read) -> Self {
                let mut object = Self::default();
                object.metadata = read.metadata.into();
                $(object.$part = read.$part.map(Into::into);)*
                object
            }
        }

        impl Trim for $kind {
            type Read = $read;
        }
    };
}

trim!(Service, ReadService { spec: ServiceSpec, status: ServiceStatus });
trim!(Node, ReadNode { status: NodeAddresses });
trim!(Pod, ReadPod { spec: PodPlace, status: PodAddresses });
trim!(Namespace, ReadNamespace {});
trim!(ServiceCIDR, ReadServiceCidr { spec: ServiceCIDRSpec });

/// Where a node is reached. The rest of its status is long, and changes all the time.
#[derive(Deserialize)]
pub(super) struct NodeAddresses {
    #[serde(default)]
    addresses: Option<Vec<k8s_openapi::api::core::v1::NodeAddress>>,
}

impl From<NodeAddresses> for NodeStatus {
    fn from(NodeAddresses { addresses }: NodeAddresses) -> Self {
        Self { addresses, ..Self::default() }
    }
}

/// Where a Pod runs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodPlace {
    #[serde(default)]
    node_name: Option<String>,
    #[serde(default)]
    host_network: Option<bool>,
}

impl From<PodPlace> for PodSpec {
    fn from(PodPlace { node_name, host_network }: PodPlace) -> Self {
        Self { node_name, host_network, ..Self::default() }
    }
}

/// Whether a Pod runs, and its addresses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodAddresses {
    #[serde(default)]
    phase: Option<String>,
    #[serde(default, rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(default, rename = "podIPs")]
    pod_ips: Option<Vec<k8s_openapi::api::core::v1::PodIP>>,
}

impl From<PodAddresses> for PodStatus {
    fn from(PodAddresses { phase, pod_ip, pod_ips }: PodAddresses) -> Self {
        Self { phase, pod_ip, pod_ips, ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
