//! The kinds of objects that are served: for each, what the server fills in, what it keeps from the
//! version before, and what it can be selected by.
//!
//! Objects are `k8s-openapi`'s: what they do not know is dropped, as the real server drops it. A
//! Service is more than this, see [`service`](super::service).
//!
//! Nothing that is refused may have taken an address or a port.

use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Namespace, NamespaceSpec, Node, Pod, Service},
        discovery::v1::EndpointSlice,
        networking::v1::ServiceCIDR,
    },
    serde::{Serialize, de::DeserializeOwned},
};

use super::{
    allocation::Allocation,
    object::Object,
    resource::Resource,
    service,
    status::{self, Cause, Refusal},
};

/// Runs an expression with `K` as the type of the resource's objects.
macro_rules! dispatch {
    ($resource:expr, $kind:ident => $body:expr) => {{
        use k8s_openapi::api::{core::v1, discovery, networking};
        #[allow(unused_imports)]
        use kube::Resource as _;
        match $resource {
            $crate::apiserver::Resource::Endpoints => {
                type $kind = v1::Endpoints;
                $body
            }
            $crate::apiserver::Resource::EndpointSlices => {
                type $kind = discovery::v1::EndpointSlice;
                $body
            }
            $crate::apiserver::Resource::Namespaces => {
                type $kind = v1::Namespace;
                $body
            }
            $crate::apiserver::Resource::Nodes => {
                type $kind = v1::Node;
                $body
            }
            $crate::apiserver::Resource::Pods => {
                type $kind = v1::Pod;
                $body
            }
            $crate::apiserver::Resource::ServiceCidrs => {
                type $kind = networking::v1::ServiceCIDR;
                $body
            }
            $crate::apiserver::Resource::Services => {
                type $kind = v1::Service;
                $body
            }
        }
    }};
}
pub(super) use dispatch;

/// A kind of object.
///
/// It is implemented for what is served, and nothing else.
pub trait Kind:
    kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Send + 'static
{
    /// Where it is served.
    const RESOURCE: Resource;

    #[doc(hidden)]
    const HAS_STATUS: bool = false;
    /// The version of an object stays, if it is asked to go while something still holds it.
    #[doc(hidden)]
    const RETURNED_WHEN_DELETED: bool = false;
    /// What an empty object has beside its metadata, as bookmarks carry it.
    #[doc(hidden)]
    const EMPTY: &'static str = "";

    /// Sets defaults, and what is allocated. Must leave no trace when it refuses.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "nobody outside implements it")]
    fn fill(&mut self, before: Option<&Object>, room: &mut Allocation) -> Result<(), Refusal>;

    /// Gives back what was allocated.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "nobody outside implements it")]
    fn release(_gone: &Object, _room: &mut Allocation) {}

    /// Takes the status of `other`, `None` for that of a new object.
    #[doc(hidden)]
    fn take_status(&mut self, _other: Option<&Self>) {}

    /// What it can be selected by, beside name and namespace.
    #[doc(hidden)]
    fn fields(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// How many seconds it is left to end by itself when it is deleted: 0 for nothing that runs.
    #[doc(hidden)]
    fn grace(&self) -> i64 {
        0
    }

    /// Whether something has yet to be done before it may go.
    #[doc(hidden)]
    fn is_held(&self) -> bool {
        self.meta().finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
    }

    /// It was asked to go, and stays until it is no longer held.
    #[doc(hidden)]
    fn terminate(&mut self) {}
}

/// TCP, where nothing else is said.
fn tcp(protocol: &mut Option<String>) {
    protocol.get_or_insert_with(|| "TCP".into());
}

impl Kind for Endpoints {
    const RESOURCE: Resource = Resource::Endpoints;

    #[expect(private_interfaces)]
    fn fill(&mut self, _: Option<&Object>, _: &mut Allocation) -> Result<(), Refusal> {
        for subset in self.subsets.iter_mut().flatten() {
            subset.ports.iter_mut().flatten().for_each(|port| tcp(&mut port.protocol));
        }
        Ok(())
    }
}

impl Kind for EndpointSlice {
    const RESOURCE: Resource = Resource::EndpointSlices;
    const EMPTY: &'static str = r#","addressType":"","endpoints":null,"ports":null"#;

    #[expect(private_interfaces)]
    fn fill(&mut self, before: Option<&Object>, _: &mut Allocation) -> Result<(), Refusal> {
        if !["IPv4", "IPv6", "FQDN"].contains(&self.address_type.as_str()) {
            let cause = Cause {
                field: "addressType",
                reason: "FieldValueNotSupported",
                message: format!(
                    "Unsupported value: \"{}\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
                    self.address_type
                ),
            };
            let name = self.metadata.name.as_deref().unwrap_or_default();
            return Err(status::invalid("discovery.k8s.io", "EndpointSlice", name, cause));
        }
        for port in self.ports.iter_mut().flatten() {
            tcp(&mut port.protocol);
            port.name.get_or_insert_default();
        }
        let generation = before.and_then(|before| before.generation).unwrap_or_default();
        self.metadata.generation = Some(generation + 1);
        Ok(())
    }
}

impl Kind for Namespace {
    const RESOURCE: Resource = Resource::Namespaces;
    const HAS_STATUS: bool = true;
    const RETURNED_WHEN_DELETED: bool = true;
    const EMPTY: &'static str = r#","spec":{},"status":{}"#;

    #[expect(private_interfaces)]
    fn fill(&mut self, _: Option<&Object>, _: &mut Allocation) -> Result<(), Refusal> {
        let name = self.metadata.name.clone().unwrap_or_default();
        let labels = self.metadata.labels.get_or_insert_default();
        labels.insert("kubernetes.io/metadata.name".into(), name);
        let held = || NamespaceSpec { finalizers: Some(vec!["kubernetes".into()]) };
        self.spec.get_or_insert_with(held);
        let status = self.status.get_or_insert_default();
        status.phase.get_or_insert_with(|| "Active".into());
        Ok(())
    }

    fn take_status(&mut self, other: Option<&Self>) {
        self.status = other.and_then(|other| other.status.clone());
    }

    fn is_held(&self) -> bool {
        let of = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
        of(self.metadata.finalizers.as_ref())
            || of(self.spec.as_ref().and_then(|spec| spec.finalizers.as_ref()))
    }

    fn terminate(&mut self) {
        self.status.get_or_insert_default().phase = Some("Terminating".into());
    }
}

impl Kind for Node {
    const RESOURCE: Resource = Resource::Nodes;
    const HAS_STATUS: bool = true;

    #[expect(private_interfaces)]
    fn fill(&mut self, _: Option<&Object>, _: &mut Allocation) -> Result<(), Refusal> {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
        Ok(())
    }

    // A kubelet registers its node with a status.
    fn take_status(&mut self, other: Option<&Self>) {
        if let Some(other) = other {
            self.status.clone_from(&other.status);
        }
    }
}

impl Kind for Pod {
    const RESOURCE: Resource = Resource::Pods;
    const HAS_STATUS: bool = true;
    const RETURNED_WHEN_DELETED: bool = true;
    const EMPTY: &'static str = r#","spec":{"containers":null},"status":{}"#;

    #[expect(private_interfaces)]
    fn fill(&mut self, _: Option<&Object>, _: &mut Allocation) -> Result<(), Refusal> {
        let spec = self.spec.get_or_insert_default();
        spec.restart_policy.get_or_insert_with(|| "Always".into());
        spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
        spec.termination_grace_period_seconds.get_or_insert(30);
        let status = self.status.get_or_insert_default();
        status.phase.get_or_insert_with(|| "Pending".into());
        Ok(())
    }

    fn take_status(&mut self, other: Option<&Self>) {
        self.status = other.and_then(|other| other.status.clone());
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let node = self.spec.as_ref().and_then(|spec| spec.node_name.clone());
        node.into_iter().map(|node| ("spec.nodeName", node)).collect()
    }

    fn grace(&self) -> i64 {
        let spec = self.spec.as_ref();
        let runs =
            spec.is_some_and(|spec| spec.node_name.as_deref().is_some_and(|it| !it.is_empty()));
        let phase = self.status.as_ref().and_then(|status| status.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        let grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
        if runs && !ended { grace.unwrap_or(30) } else { 0 }
    }
}

impl Kind for ServiceCIDR {
    const RESOURCE: Resource = Resource::ServiceCidrs;
    const HAS_STATUS: bool = true;
    const EMPTY: &'static str = r#","spec":{},"status":{}"#;

    #[expect(private_interfaces)]
    fn fill(&mut self, _: Option<&Object>, _: &mut Allocation) -> Result<(), Refusal> {
        self.status.get_or_insert_default();
        Ok(())
    }

    fn take_status(&mut self, other: Option<&Self>) {
        self.status = other.and_then(|other| other.status.clone());
    }
}

impl Kind for Service {
    const RESOURCE: Resource = Resource::Services;
    const HAS_STATUS: bool = true;
    const RETURNED_WHEN_DELETED: bool = true;
    const EMPTY: &'static str = r#","spec":{},"status":{"loadBalancer":{}}"#;

    #[expect(private_interfaces)]
    fn fill(&mut self, before: Option<&Object>, room: &mut Allocation) -> Result<(), Refusal> {
        service::fill(self, before.map(Object::read).as_ref(), room)
    }

    #[expect(private_interfaces)]
    fn release(gone: &Object, room: &mut Allocation) {
        room.release(&gone.key());
    }

    fn take_status(&mut self, other: Option<&Self>) {
        self.status = other.and_then(|other| other.status.clone());
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let address = spec.cluster_ip.clone().map(|address| ("spec.clusterIP", address));
        let kind = spec.type_.clone().map(|kind| ("spec.type", kind));
        address.into_iter().chain(kind).collect()
    }
}
