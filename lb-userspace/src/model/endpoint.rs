//! What is kept of an endpoint: 12 bytes in IPv4, 24 in IPv6.
//!
//! This module must never decide which endpoints receive connections: that is
//! [`super::eligible`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::discovery::v1::Endpoint as ApiEndpoint;

/// The endpoints of one slice, which are all of one family.
#[derive(Debug, PartialEq)]
pub(super) enum Endpoints {
    V4(Box<[Endpoint<Ipv4Addr>]>),
    V6(Box<[Endpoint<Ipv6Addr>]>),
}

impl Endpoints {
    /// Those of all endpoints, whatever their conditions.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let (v4, v6): (&[_], &[_]) = match self {
            Self::V4(endpoints) => (endpoints, &[]),
            Self::V6(endpoints) => (&[], endpoints),
        };
        let v4 = v4.iter().map(|endpoint: &Endpoint<Ipv4Addr>| endpoint.address.into());
        v4.chain(v6.iter().map(|endpoint: &Endpoint<Ipv6Addr>| endpoint.address.into()))
    }
}

/// An endpoint. What depends on this node's name is resolved when the slice is read, since the name
/// of the node never changes; its zone may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint<A> {
    pub(super) address: A,
    /// One more than the index into its slice's lists of zones; 0 without a zone hint.
    pub(super) zones: u32,
    flags: u8,
}

const _: () = assert!(size_of::<Endpoint<Ipv4Addr>>() == 12);
const _: () = assert!(size_of::<Endpoint<Ipv6Addr>>() == 24);

const READY: u8 = 1;
const SERVING: u8 = 1 << 1;
const TERMINATING: u8 = 1 << 2;
const LOCAL: u8 = 1 << 3;
const NODE_HINT: u8 = 1 << 4;
const NODE_HINT_HERE: u8 = 1 << 5;

impl<A> Endpoint<A> {
    /// Reads an endpoint. `node` is the name of this node.
    pub(super) fn new(address: A, zones: u32, object: &ApiEndpoint, node: Option<&str>) -> Self {
        Self { address, zones, flags: flags(object, node) }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_ready(&self) -> bool {
        self.has(READY)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.has(SERVING)
    }

    pub(super) fn is_terminating(&self) -> bool {
        self.has(TERMINATING)
    }

    /// On this node.
    pub(super) fn is_local(&self) -> bool {
        self.has(LOCAL)
    }

    /// Hinted for some nodes.
    pub(super) fn has_node_hint(&self) -> bool {
        self.has(NODE_HINT)
    }

    /// Hinted for this node, perhaps among others.
    pub(super) fn is_hinted_for_node(&self) -> bool {
        self.has(NODE_HINT_HERE)
    }

    /// Hinted for some zones.
    pub(super) fn has_zone_hint(&self) -> bool {
        self.zones != 0
    }
}

fn flags(endpoint: &ApiEndpoint, node: Option<&str>) -> u8 {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(true);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    let local = node.is_some() && endpoint.node_name.as_deref() == node;
    let for_nodes = endpoint.hints.as_ref().and_then(|hints| hints.for_nodes.as_deref());
    let for_nodes = for_nodes.unwrap_or_default();
    let for_this = node.is_some_and(|node| for_nodes.iter().any(|hint| hint.name == node));
    [
        (ready, READY),
        (serving, SERVING),
        (terminating, TERMINATING),
        (local, LOCAL),
        (!for_nodes.is_empty(), NODE_HINT),
        (for_this, NODE_HINT_HERE),
    ]
    .into_iter()
    .fold(0, |flags, (holds, flag)| if holds { flags | flag } else { flags })
}
