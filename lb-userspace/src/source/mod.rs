//! Where Kubernetes objects come from, turned into one stream of typed events.
//!
//! A source is the only place that knows how objects arrive. It must never interpret Service
//! semantics: that is [`crate::model`].

pub mod manifests;

use std::net::IpAddr;

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};

/// An object that takes part in load balancing.
#[derive(Clone, Debug)]
pub enum Object {
    /// A Service with its frontends.
    Service(Box<Service>),
    /// Some endpoints of a Service. `Endpoints` objects arrive as slices too.
    EndpointSlice(Box<EndpointSlice>),
    /// A Node; the model needs its own one's zone.
    Node(Box<Node>),
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
}

/// Names one object. The namespace of a Node is empty.
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
    /// Everything that existed when the source started has been sent. Sent once.
    Synced,
}
