//! What is kept of a Service: its addresses and ports, and how it chooses endpoints.
//!
//! This module must never look at endpoints, at other Services, or at the node.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{
    FrontendKind, Protocol,
    family::{Address, PerFamily},
    labels::is_for_others,
    notice::Notice,
};

mod reader;

use reader::Reader;

/// How long a client stays with its backend if the Service does not say: the API server's default.
const AFFINITY_SECONDS: u32 = 10_800;
/// The longest that the API server accepts.
const MAX_AFFINITY_SECONDS: u32 = 86_400;

/// The part of a Service that counts.
#[derive(Debug, PartialEq)]
pub(super) struct Spec {
    /// `metadata.creationTimestamp` in seconds since 1970; `i64::MAX`, so the youngest, without.
    pub(super) created: i64,
    /// Whether this agent serves it; if not, its ClusterIPs are known all the same.
    pub(super) served: bool,
    /// `internalTrafficPolicy: Local`.
    pub(super) local: bool,
    /// As [`super::Frontend::affinity`].
    pub(super) affinity: u32,
    /// Empty for a Service without frontends. Each address of the other lists is of the family of
    /// one of these, and all that follows is empty if the Service is not served.
    pub(super) cluster_ips: Box<[IpAddr]>,
    pub(super) load_balancers: Box<[IpAddr]>,
    pub(super) external_ips: Box<[IpAddr]>,
    /// Whether only some clients may use the load balancer's addresses.
    pub(super) restricted: PerFamily<bool>,
    /// Each number and protocol once.
    pub(super) ports: Box<[Port]>,
    /// What was left out.
    pub(super) notices: Box<[Notice]>,
}

/// A port of a Service.
#[derive(Debug, PartialEq)]
pub(super) struct Port {
    /// Finds the port of the same name in a slice. Empty for an unnamed port.
    pub(super) name: Box<str>,
    /// As [`super::Frontend::name`].
    pub(super) full_name: Arc<str>,
    /// What clients connect to on all addresses but the node's.
    pub(super) number: u16,
    /// What they connect to on the node's; 0 without.
    pub(super) node_port: u16,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
}

/// The Service of a port, from its [`Port::full_name`].
pub(super) fn service_of_port(full_name: &str) -> Option<&str> {
    let (service, _protocol) = full_name.rsplit_once('/')?;
    Some(service.rsplit_once(':').map_or(service, |(service, _port)| service))
}

impl Spec {
    /// Reads a Service. `service` is its `namespace/name`.
    pub(super) fn new(service: &Arc<str>, object: &Service, node_known: bool) -> Self {
        let created =
            object.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
        let mut read = Self { created, ..Self::without_frontends() };
        let Some(spec) = &object.spec else { return read };
        if spec.type_.as_deref() == Some("ExternalName") {
            return read;
        }
        let mut reader = Reader::new(service);
        read.cluster_ips = reader.cluster_ips(spec);
        if is_for_others(&object.metadata) {
            read.served = false;
            return read;
        }
        if !read.cluster_ips.is_empty() {
            read.local = spec.internal_traffic_policy.as_deref() == Some("Local");
            read.affinity = reader.affinity(spec);
            read.ports = reader.ports(spec);
            if read.local && !node_known && !read.ports.is_empty() {
                reader.notices.push(Notice::LocalWithoutNode { service: service.clone() });
            }
            let (external_ips, kind) =
                (spec.external_ips.iter().flatten(), FrontendKind::ExternalIp);
            read.external_ips = reader.more_addresses(external_ips, kind, &read.cluster_ips);
            if is_type(spec, "LoadBalancer") {
                let kind = FrontendKind::LoadBalancer;
                read.load_balancers =
                    reader.more_addresses(reader::ingress_ips(object), kind, &read.cluster_ips);
                read.restricted = reader.restricted(spec, &read.load_balancers);
            }
        }
        read.notices = reader.notices.into();
        read
    }

    fn without_frontends() -> Self {
        Self {
            created: i64::MAX,
            served: true,
            local: false,
            affinity: 0,
            cluster_ips: Box::default(),
            load_balancers: Box::default(),
            external_ips: Box::default(),
            restricted: PerFamily::default(),
            ports: Box::default(),
            notices: Box::default(),
        }
    }

    /// Whether frontends of an address's family are served: those of one without ClusterIP are not.
    pub(super) fn has_family_of(&self, address: IpAddr) -> bool {
        has_family_of(&self.cluster_ips, address)
    }

    /// The same of a family.
    pub(super) fn has_family<A: Address>(&self) -> bool {
        self.cluster_ips.iter().any(|address| address.is_ipv4() == A::IS_IPV4)
    }

    /// Addresses that the Service names beside those that the cluster gave it.
    pub(super) fn named_addresses(&self) -> impl Iterator<Item = (FrontendKind, IpAddr)> {
        let load_balancers = self.load_balancers.iter().map(|ip| (FrontendKind::LoadBalancer, *ip));
        load_balancers.chain(self.external_ips.iter().map(|ip| (FrontendKind::ExternalIp, *ip)))
    }

    /// Whether it depends on which addresses the node has.
    pub(super) fn has_node_ports(&self) -> bool {
        self.ports.iter().any(|port| port.node_port != 0)
    }
}

/// The protocol of a Service's or a slice's port, if it has frontends. SCTP sockets meet no hook.
pub(super) fn read_protocol(text: Option<&str>) -> Option<Protocol> {
    match text.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        _ => None,
    }
}

fn is_type(spec: &ServiceSpec, name: &str) -> bool {
    spec.type_.as_deref() == Some(name)
}

fn has_family_of(addresses: &[IpAddr], address: IpAddr) -> bool {
    addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4())
}
