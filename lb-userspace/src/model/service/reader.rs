//! The fields of a Service, one by one, with a notice for each that cannot be used.
//!
//! This module must never decide whether the Service is served.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::{AFFINITY_SECONDS, MAX_AFFINITY_SECONDS, Port, has_family_of, is_type, read_protocol};
use crate::model::{
    FrontendKind, Notice,
    address::{parse, unusable},
    family::PerFamily,
};

pub(super) struct Reader<'a> {
    service: &'a Arc<str>,
    pub(super) notices: Vec<Notice>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(service: &'a Arc<str>) -> Self {
        Self { service, notices: Vec::new() }
    }

    /// The usable ClusterIPs. `clusterIPs` repeats what the older `clusterIP` says.
    pub(super) fn cluster_ips(&mut self, spec: &ServiceSpec) -> Box<[IpAddr]> {
        let texts = match &spec.cluster_ips {
            Some(addresses) if !addresses.is_empty() => addresses.as_slice(),
            _ => spec.cluster_ip.as_slice(),
        };
        let texts = texts.iter().filter(|text| !text.is_empty() && *text != "None");
        let mut addresses = Vec::new();
        for text in texts {
            let address = self.address(text, FrontendKind::ClusterIp);
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        addresses.into()
    }

    /// The usable ones of other addresses. The cluster chooses the families of a Service by giving
    /// it ClusterIPs; kube-proxy keeps to that for all addresses.
    pub(super) fn more_addresses<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t String>,
        kind: FrontendKind,
        cluster_ips: &[IpAddr],
    ) -> Box<[IpAddr]> {
        let mut addresses = Vec::new();
        for text in texts {
            let Some(address) = self.address(text, kind) else { continue };
            if !has_family_of(cluster_ips, address) {
                self.left_out(text, kind, "the Service has no ClusterIP of its family");
            } else if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.into()
    }

    fn address(&mut self, text: &str, kind: FrontendKind) -> Option<IpAddr> {
        let usable = |address| unusable(address).map_or(Ok(address), Err);
        match parse(text).ok_or("it is no IP address").and_then(usable) {
            Ok(address) => Some(address),
            Err(reason) => {
                self.left_out(text, kind, reason);
                None
            }
        }
    }

    fn left_out(&mut self, text: &str, kind: FrontendKind, reason: &'static str) {
        let (service, address) = (self.service.clone(), text.into());
        self.notices.push(Notice::Address { service, kind, address, reason });
    }

    /// In which families the load balancer's addresses are for some clients alone: wherever there
    /// are ranges and none of them is the whole family. Ranges of the other family say nothing, as in
    /// kube-proxy (newBaseServiceInfo in pkg/proxy/serviceport.go); one that cannot be read may be of
    /// either.
    pub(super) fn restricted(
        &mut self,
        spec: &ServiceSpec,
        addresses: &[IpAddr],
    ) -> PerFamily<bool> {
        let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
        let (mut restricted, mut open) =
            (PerFamily::<bool>::default(), PerFamily::<bool>::default());
        for range in ranges {
            match range.trim().parse::<IpNet>() {
                Ok(range) if range.prefix_len() == 0 => *open.of_mut(range.addr()) = true,
                Ok(range) => *restricted.of_mut(range.addr()) = true,
                Err(_) => restricted = PerFamily { v4: true, v6: true },
            }
        }
        restricted.v4 &= !open.v4;
        restricted.v6 &= !open.v6;
        for &address in addresses.iter().filter(|address| *restricted.of(**address)) {
            let service = self.service.clone();
            self.notices.push(Notice::SourceRanges { service, address });
        }
        restricted
    }

    pub(super) fn affinity(&mut self, spec: &ServiceSpec) -> u32 {
        if spec.session_affinity.as_deref() != Some("ClientIP") {
            return 0;
        }
        let config = spec.session_affinity_config.as_ref();
        let client_ip = config.and_then(|config| config.client_ip.as_ref());
        let Some(seconds) = client_ip.and_then(|client_ip| client_ip.timeout_seconds) else {
            return AFFINITY_SECONDS;
        };
        let used = match u32::try_from(seconds) {
            Err(_) | Ok(0) => AFFINITY_SECONDS,
            Ok(seconds) => seconds.min(MAX_AFFINITY_SECONDS),
        };
        if i64::from(used) != i64::from(seconds) {
            let service = self.service.clone();
            self.notices.push(Notice::AffinityTimeout { service, seconds, used });
        }
        used
    }

    pub(super) fn ports(&mut self, spec: &ServiceSpec) -> Box<[Port]> {
        let node_ports = is_type(spec, "NodePort") || is_type(spec, "LoadBalancer");
        let mut ports: Vec<Port> = Vec::new();
        for object in spec.ports.iter().flatten() {
            let Some(port) = self.port(object, node_ports) else { continue };
            let same =
                |other: &Port| (other.number, other.protocol) == (port.number, port.protocol);
            if ports.iter().any(same) {
                let (service, protocol) = (self.service.clone(), port.protocol);
                self.notices.push(Notice::DuplicatePort { service, port: port.number, protocol });
            } else {
                ports.push(port);
            }
        }
        ports.into()
    }

    fn port(&mut self, port: &ServicePort, node_ports: bool) -> Option<Port> {
        let service = self.service;
        let Some(protocol) = read_protocol(port.protocol.as_deref()) else {
            let protocol = port.protocol.as_deref().unwrap_or_default().into();
            let service = service.clone();
            self.notices.push(Notice::Protocol { service, port: port.port, protocol });
            return None;
        };
        let number = self.number(port.port)?;
        let node_port = port.node_port.filter(|number| node_ports && *number != 0);
        let node_port = node_port.and_then(|number| self.number(number)).unwrap_or(0);
        let name = port.name.as_deref().unwrap_or_default();
        let full_name = if name.is_empty() {
            format!("{service}/{protocol}").into()
        } else {
            format!("{service}:{name}/{protocol}").into()
        };
        Some(Port { name: name.into(), full_name, number, node_port, protocol })
    }

    fn number(&mut self, number: i32) -> Option<u16> {
        let read = u16::try_from(number).ok().filter(|number| *number != 0);
        if read.is_none() {
            let service = self.service.clone();
            self.notices.push(Notice::PortNumber { service, port: number });
        }
        read
    }
}

/// The load balancer's addresses whose traffic arrives at the node as it is. With `ipMode: Proxy`
/// it arrives at a node port, and clients on the node have to take the same way.
pub(super) fn ingress_ips(object: &Service) -> impl Iterator<Item = &String> {
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    let at_the_node =
        ingress.iter().filter(|ingress| matches!(ingress.ip_mode.as_deref(), None | Some("VIP")));
    at_the_node.filter_map(|ingress| ingress.ip.as_ref()).filter(|ip| !ip.is_empty())
}
