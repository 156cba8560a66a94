//! What is kept of a Service: the frontends that it declares, and how it chooses endpoints.
//!
//! This module must never look at endpoints, nor at other Services.

use std::{net::Ipv4Addr, sync::Arc};

use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::{
    FrontendKey, Protocol,
    address::{parse_ipv4, unusable},
    labels::is_for_others,
    notice::Notice,
};

/// The part of a Service that counts.
#[derive(Debug, PartialEq)]
pub(super) struct Spec {
    /// `metadata.creationTimestamp` in seconds since 1970; `i64::MAX`, so the youngest, without.
    pub(super) created: i64,
    /// `internalTrafficPolicy: Local`.
    pub(super) local: bool,
    /// In the order of the Service; each key once.
    pub(super) frontends: Box<[Declared]>,
    /// What was left out.
    pub(super) notices: Box<[Notice]>,
}

/// One address and port of a Service.
#[derive(Debug, PartialEq)]
pub(super) struct Declared {
    pub(super) key: FrontendKey,
    /// Finds the port of the same name in a slice. Empty for an unnamed port.
    pub(super) port_name: Box<str>,
    /// As [`super::Frontend::name`].
    pub(super) name: Arc<str>,
}

impl Spec {
    /// Reads a Service. `service` is its `namespace/name`.
    pub(super) fn new(service: &Arc<str>, object: &Service, node_known: bool) -> Self {
        let created =
            object.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
        let mut reader = Reader { service, frontends: Vec::new(), notices: Vec::new() };
        let mut local = false;
        if let Some(spec) = object.spec.as_ref().filter(|_| served(object)) {
            local = spec.internal_traffic_policy.as_deref() == Some("Local");
            let addresses = reader.addresses(object);
            for port in spec.ports.iter().flatten() {
                reader.port(port, &addresses);
            }
            if local && !node_known && !reader.frontends.is_empty() {
                reader.notices.push(Notice::LocalWithoutNode { service: service.clone() });
            }
        }
        Self { created, local, frontends: reader.frontends.into(), notices: reader.notices.into() }
    }
}

/// Whether a Service of this kind has frontends at all, if it has addresses.
fn served(object: &Service) -> bool {
    let external_name =
        object.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    !is_for_others(&object.metadata) && !external_name
}

struct Reader<'a> {
    service: &'a Arc<str>,
    frontends: Vec<Declared>,
    notices: Vec<Notice>,
}

impl Reader<'_> {
    /// The Service's IPv4 ClusterIPs. `clusterIPs` repeats what the older `clusterIP` says.
    fn addresses(&mut self, object: &Service) -> Vec<Ipv4Addr> {
        let Some(spec) = &object.spec else { return Vec::new() };
        let texts: Vec<&String> = match &spec.cluster_ips {
            Some(addresses) if !addresses.is_empty() => addresses.iter().collect(),
            _ => spec.cluster_ip.iter().collect(),
        };
        texts
            .into_iter()
            .filter(|text| !text.is_empty() && *text != "None")
            .filter_map(|text| self.address(text))
            .collect()
    }

    fn address(&mut self, text: &str) -> Option<Ipv4Addr> {
        let service = self.service.clone();
        let notice = match parse_ipv4(text) {
            Some(address) => match unusable(address) {
                None => return Some(address),
                Some(reason) => Notice::ClusterIp { service, address: text.into(), reason },
            },
            None if text.parse::<std::net::Ipv6Addr>().is_ok() => {
                Notice::AddressFamily { service, address: text.into() }
            }
            None => {
                Notice::ClusterIp { service, address: text.into(), reason: "it is no IP address" }
            }
        };
        self.notices.push(notice);
        None
    }

    fn port(&mut self, port: &ServicePort, addresses: &[Ipv4Addr]) {
        if addresses.is_empty() {
            return;
        }
        let service = self.service.clone();
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if protocol != "TCP" {
            let protocol = protocol.into();
            self.notices.push(Notice::Protocol { service, port: port.port, protocol });
            return;
        }
        let number = match u16::try_from(port.port) {
            Ok(number) if number != 0 => number,
            _ => {
                self.notices.push(Notice::PortNumber { service, port: port.port });
                return;
            }
        };
        if self.frontends.iter().any(|declared| declared.key.port == number) {
            self.notices.push(Notice::DuplicatePort { service, port: number });
            return;
        }
        let port_name = port.name.as_deref().unwrap_or_default();
        let name: Arc<str> = if port_name.is_empty() {
            format!("{service}/TCP").into()
        } else {
            format!("{service}:{port_name}/TCP").into()
        };
        for address in addresses {
            let key =
                FrontendKey { address: (*address).into(), port: number, protocol: Protocol::Tcp };
            if self.frontends.iter().all(|declared| declared.key != key) {
                let (port_name, name) = (port_name.into(), name.clone());
                self.frontends.push(Declared { key, port_name, name });
            }
        }
    }
}
