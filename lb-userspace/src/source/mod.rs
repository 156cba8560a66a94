//! Where Kubernetes objects come from, turned into one stream of typed events.
//!
//! A source is the only place that knows how objects arrive. It must never interpret Service
//! semantics: that is [`crate::model`].

pub mod addresses;
pub mod kube;
pub mod manifests;
mod mirror;
mod slices;

use std::{
    fmt,
    net::IpAddr,
    time::{Instant, SystemTime},
};

use ipnet::IpNet;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub(crate) use self::{mirror::HEADLESS_LABEL, slices::SERVICE_LABEL};

/// An object that takes part in load balancing, or says who does.
#[derive(Clone, Debug)]
pub enum Object {
    /// A Service with its frontends.
    Service(Box<Service>),
    /// Some endpoints of a Service. `Endpoints` objects arrive as slices too.
    EndpointSlice(Box<EndpointSlice>),
    /// A Node; the model needs its own one's zone.
    Node(Box<Node>),
    /// A Pod, which may opt out of balancing. The model needs none.
    Pod(Box<Pod>),
    /// A Namespace, whose Pods may opt out.
    Namespace(Box<Namespace>),
}

/// The kinds of [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1/Service`
    Service,
    /// `discovery.k8s.io/v1/EndpointSlice`
    EndpointSlice,
    /// `v1/Node`
    Node,
    /// `v1/Pod`
    Pod,
    /// `v1/Namespace`
    Namespace,
}

/// Names one object. The namespace of a Node and of a Namespace is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// What it is.
    pub kind: Kind,
    /// `metadata.namespace`; `default` where a manifest of a namespaced kind has none.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

/// One step of a source's stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// An object was created or changed: this is all of it.
    Apply(Object),
    /// An object is gone.
    Delete(ObjectKey),
    /// The addresses of the node's interfaces, all that there are now. Without those of kube-ipvs0,
    /// which has the Services' addresses, and without loopback and link-local ones.
    LocalAddresses(Vec<IpAddr>),
    /// The networks that ClusterIPs are given from, all that there are now.
    ServiceNetworks(Vec<IpNet>),
    /// Everything that existed when the source started has been sent. Sent once.
    Synced,
}

/// When a change reached the agent.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When a watch told of it.
    pub at: Instant,
    /// When its cause was seen in the cluster, if whoever wrote the object says so: for a slice the
    /// annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub trigger: Option<SystemTime>,
}

impl Object {
    /// `metadata.name`
    pub(crate) fn name(&self) -> Option<&str> {
        self.parts().1.name.as_deref()
    }

    /// Its kind and metadata.
    fn parts(&self) -> (Kind, &ObjectMeta) {
        match self {
            Self::Service(object) => (Kind::Service, &object.metadata),
            Self::EndpointSlice(object) => (Kind::EndpointSlice, &object.metadata),
            Self::Node(object) => (Kind::Node, &object.metadata),
            Self::Pod(object) => (Kind::Pod, &object.metadata),
            Self::Namespace(object) => (Kind::Namespace, &object.metadata),
        }
    }
}

/// What happened to which object, for the log.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(object) => {
                let (kind, metadata) = object.parts();
                let namespace = metadata.namespace.as_deref().unwrap_or_default();
                let name = metadata.name.as_deref().unwrap_or_default();
                write!(f, "apply {kind:?} {namespace}/{name}")
            }
            Self::Delete(ObjectKey { kind, namespace, name }) => {
                write!(f, "delete {kind:?} {namespace}/{name}")
            }
            Self::LocalAddresses(addresses) => write!(f, "local addresses {addresses:?}"),
            Self::ServiceNetworks(networks) => write!(f, "Service networks {networks:?}"),
            Self::Synced => f.write_str("synced"),
        }
    }
}
