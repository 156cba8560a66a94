//! This node, as far as it decides which frontends there are and which endpoints are near.
//!
//! This module must never ask the node anything: it is told.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Options, Tracked, address::unusable};

/// The loopback address that node ports may be served on. None are on `::1`, as with kube-proxy,
/// since packets have no `route_localnet` there.
const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What is known of the node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Option<String>,
    /// As its label says now.
    pub(super) zone: Option<String>,
    pub(super) track: Tracked,
    addresses: Addresses,
    /// As its object's status says: an address of a cloud's network is often on no interface.
    /// Sorted.
    stated: Box<[IpAddr]>,
    /// The endpoints of the API server's Service, sorted.
    api_server: Box<[IpAddr]>,
    networks: Vec<IpNet>,
    localhost: bool,
    translate_local: bool,
    protected: Vec<IpAddr>,
}

/// The node's addresses.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Addresses {
    /// Sorted.
    all: Box<[IpAddr]>,
    /// Where node ports are served, sorted.
    node_ports: Box<[IpAddr]>,
}

impl Node {
    pub(super) fn new(options: Options) -> Self {
        let mut node = Self {
            name: options.node,
            zone: None,
            track: options.track,
            addresses: Addresses::default(),
            stated: Box::default(),
            api_server: Box::default(),
            networks: options.node_port_addresses,
            localhost: options.node_port_localhost,
            translate_local: options.translate_local,
            protected: options.protected.iter().map(IpAddr::to_canonical).collect(),
        };
        node.addresses = node.read(Vec::new());
        node
    }

    /// What these addresses mean for frontends.
    pub(super) fn read(&self, mut all: Vec<IpAddr>) -> Addresses {
        all.retain(|address| unusable(*address).is_none());
        all.sort_unstable();
        all.dedup();
        let mut node_ports: Vec<_> = all
            .iter()
            .copied()
            .filter(|address| {
                self.networks.is_empty() || self.networks.iter().any(|net| net.contains(address))
            })
            .chain(self.localhost.then_some(LOCALHOST))
            .collect();
        node_ports.sort_unstable();
        Addresses { all: all.into(), node_ports: node_ports.into() }
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(super) fn set_addresses(&mut self, addresses: Addresses) {
        self.addresses = addresses;
    }

    /// The node's object has these addresses. Returns those that came or went.
    pub(super) fn set_stated(&mut self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        replace(&mut self.stated, addresses)
    }

    /// The API server has these addresses. Returns those that came or went.
    pub(super) fn set_api_server(&mut self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        replace(&mut self.api_server, addresses)
    }

    /// What was last set as such.
    #[cfg(test)]
    pub(super) fn api_server(&self) -> std::collections::BTreeSet<IpAddr> {
        self.api_server.iter().copied().collect()
    }

    /// Where node ports are served.
    pub(super) fn node_port_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.node_ports.iter().copied()
    }

    /// Whether a ClusterIP is left to the local interface that has it.
    pub(super) fn keeps(&self, cluster_ip: IpAddr) -> bool {
        !self.translate_local && self.addresses.has(cluster_ip)
    }

    /// Why no Service may take an address over by naming it, as far as the node decides that.
    pub(super) fn protects(&self, address: IpAddr) -> Option<&'static str> {
        let is_in = |addresses: &[IpAddr]| addresses.binary_search(&address).is_ok();
        if self.protected.contains(&address) || is_in(&self.api_server) {
            Some("it is an address of the API server")
        } else if self.addresses.has(address) || is_in(&self.stated) {
            Some("it is an address of this node")
        } else {
            None
        }
    }
}

impl Addresses {
    fn has(&self, address: IpAddr) -> bool {
        self.all.binary_search(&address).is_ok()
    }

    /// Those that one of the two has and the other has not.
    pub(super) fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = IpAddr> + 'a {
        let here = self.all.iter().filter(|address| !other.has(**address));
        here.chain(other.all.iter().filter(|address| !self.has(**address))).copied()
    }

    /// Whether node ports are served elsewhere than with `other`.
    pub(super) fn moves_node_ports(&self, other: &Self) -> bool {
        self.node_ports != other.node_ports
    }
}

/// Puts `now` in the place of sorted addresses. Returns those that only one of the two has.
fn replace(addresses: &mut Box<[IpAddr]>, mut now: Vec<IpAddr>) -> Vec<IpAddr> {
    now.sort_unstable();
    now.dedup();
    let before = std::mem::replace(addresses, now.into());
    let gone = before.iter().filter(|address| addresses.binary_search(address).is_err());
    let new = addresses.iter().filter(|address| before.binary_search(address).is_err());
    gone.chain(new).copied().collect()
}
