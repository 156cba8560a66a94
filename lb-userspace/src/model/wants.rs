//! The frontends that a Service asks for on this node, whoever gets them.
//!
//! This module must never look at other Services: precedence is [`super::claims`]'.

use std::net::IpAddr;

use super::{FrontendKey, FrontendKind, Protocol, node::Node, service::Spec};

/// One frontend that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) key: FrontendKey,
    pub(super) kind: FrontendKind,
    /// Which of the Service's ports; none in particular for [`FrontendKind::Known`].
    pub(super) port: usize,
}

/// All of them. A key may come twice, as when an external IP is the load balancer's as well.
pub(super) fn wants<'a>(spec: &'a Spec, node: &'a Node) -> impl Iterator<Item = Want> + 'a {
    let known = spec.cluster_ips.iter().copied();
    // Whatever listens on a local interface's address, on any port, is left alone.
    let known = known.filter(|address| !spec.served || node.keeps(*address)).map(marker);
    let cluster_ips = spec.cluster_ips.iter().map(|address| (FrontendKind::ClusterIp, *address));
    let addresses = cluster_ips.chain(spec.named_addresses());
    let fixed = addresses.flat_map(|(kind, address)| {
        spec.ports.iter().enumerate().map(move |(index, port)| Want {
            key: FrontendKey { address, port: port.number, protocol: port.protocol },
            kind,
            port: index,
        })
    });
    known.chain(fixed).chain(node_ports(spec, node))
}

fn node_ports<'a>(spec: &'a Spec, node: &'a Node) -> impl Iterator<Item = Want> + 'a {
    let ports = spec.ports.iter().enumerate().filter(|(_, port)| port.node_port != 0);
    ports.flat_map(move |(index, port)| {
        let addresses = node.node_port_addresses().filter(|address| spec.has_family_of(*address));
        addresses.map(move |address| Want {
            key: FrontendKey { address, port: port.node_port, protocol: port.protocol },
            kind: FrontendKind::NodePort,
            port: index,
        })
    })
}

fn marker(address: IpAddr) -> Want {
    let key = FrontendKey { address, port: 0, protocol: Protocol::Any };
    Want { key, kind: FrontendKind::Known, port: 0 }
}
