//! Who has which ClusterIP and which node port.
//!
//! Addresses are handed out in ascending order, so that tests can foresee them. Nothing here may know
//! what a Service is.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use ipnet::IpNet;

use super::object::Key;

/// The real server's default.
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// A port of nodes, of one protocol.
pub(super) type NodePort = (u16, String);

/// What is given out.
#[derive(Debug)]
pub(super) struct Allocation {
    cidrs: Vec<Range>,
    addresses: HashMap<IpAddr, Key>,
    ports: HashMap<NodePort, Key>,
    owned: HashMap<Key, Owned>,
    next_port: u16,
}

#[derive(Debug)]
struct Range {
    net: IpNet,
    /// How far it was searched.
    next: u128,
}

/// What one Service has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ports: Vec<NodePort>,
}

impl Allocation {
    pub(super) fn new(cidrs: &[IpNet]) -> Self {
        Self {
            cidrs: cidrs.iter().map(|&net| Range { net, next: 1 }).collect(),
            addresses: HashMap::new(),
            ports: HashMap::new(),
            owned: HashMap::new(),
            next_port: *NODE_PORTS.start(),
        }
    }

    /// The families that ClusterIPs can have, the primary one first.
    pub(super) fn families(&self) -> impl Iterator<Item = &'static str> {
        self.cidrs.iter().map(|range| family(range.net.addr()))
    }

    /// The ranges, as text.
    pub(super) fn cidr_of(&self, address: IpAddr) -> Option<IpNet> {
        let own = |range: &&Range| family(range.net.addr()) == family(address);
        self.cidrs.iter().find(own).map(|range| range.net)
    }

    /// A free address of the family, which nobody has until it is [`own`](Self::own)ed.
    pub(super) fn free_address(&mut self, wanted: &str) -> Option<IpAddr> {
        let range = self.cidrs.iter_mut().find(|it| family(it.net.addr()) == wanted)?;
        let bits = range.net.max_prefix_len() - range.net.prefix_len();
        // The last address of IPv4 is a broadcast address; the first of both names the range.
        let last = 1_u128.checked_shl(bits.into()).map_or(u128::MAX, |size| size - 1);
        let taken = self.addresses.len() as u128;
        for _ in 0..=taken {
            let address = nth(range.net, range.next);
            if !self.addresses.contains_key(&address) {
                return Some(address);
            }
            range.next = if range.next + 1 >= last { 1 } else { range.next + 1 };
        }
        None
    }

    /// A free port for the protocol, which nobody has until it is [`own`](Self::own)ed. `taken` are
    /// not free either.
    pub(super) fn free_port(&mut self, protocol: &str, taken: &[NodePort]) -> Option<u16> {
        for _ in NODE_PORTS {
            let port = self.next_port;
            self.next_port = if port == *NODE_PORTS.end() { *NODE_PORTS.start() } else { port + 1 };
            let wanted = (port, protocol.to_owned());
            if !self.ports.contains_key(&wanted) && !taken.contains(&wanted) {
                return Some(port);
            }
        }
        None
    }

    /// Whether the address is another's.
    pub(super) fn is_taken(&self, address: IpAddr, by: &Key) -> bool {
        self.addresses.get(&address).is_some_and(|owner| owner != by)
    }

    /// Whether the port is another's.
    pub(super) fn is_port_taken(&self, port: &NodePort, by: &Key) -> bool {
        self.ports.get(port).is_some_and(|owner| owner != by)
    }

    /// Whether the port is one of nodes.
    pub(super) fn is_node_port(port: u16) -> bool {
        NODE_PORTS.contains(&port)
    }

    /// Gives the Service all of this and takes what it had before.
    pub(super) fn own(&mut self, key: &Key, all: Owned) {
        self.release(key);
        for &address in &all.addresses {
            self.addresses.insert(address, key.clone());
        }
        for port in &all.ports {
            self.ports.insert(port.clone(), key.clone());
        }
        self.owned.insert(key.clone(), all);
    }

    /// Takes all that the Service has.
    pub(super) fn release(&mut self, key: &Key) {
        let Some(before) = self.owned.remove(key) else { return };
        for address in before.addresses {
            self.addresses.remove(&address);
        }
        for port in before.ports {
            self.ports.remove(&port);
        }
    }
}

/// As Services name it.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn nth(net: IpNet, index: u128) -> IpAddr {
    match net.network() {
        IpAddr::V4(first) => {
            let index = u32::try_from(index).expect("within the range");
            Ipv4Addr::from_bits(first.to_bits() + index).into()
        }
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + index).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("default".into(), name.into())
    }

    fn one(address: IpAddr) -> Owned {
        Owned { addresses: vec![address], ports: Vec::new() }
    }

    #[test]
    fn addresses_ascend_and_a_full_range_has_none() {
        let mut all = Allocation::new(&["10.96.0.0/30".parse().unwrap()]);
        for (name, last) in [("a", 1), ("b", 2)] {
            let address = all.free_address("IPv4").unwrap();
            assert_eq!(address, IpAddr::from([10, 96, 0, last]));
            all.own(&key(name), one(address));
        }
        assert_eq!(all.free_address("IPv4"), None);
        assert_eq!(all.free_address("IPv6"), None);
        all.release(&key("a"));
        assert_eq!(all.free_address("IPv4"), Some([10, 96, 0, 1].into()));
    }

    #[test]
    fn what_is_owned_is_taken_for_others() {
        let mut all = Allocation::new(&["fd00::/112".parse().unwrap()]);
        let address = all.free_address("IPv6").unwrap();
        let port = (all.free_port("TCP", &[]).unwrap(), "TCP".to_owned());
        all.own(&key("a"), Owned { addresses: vec![address], ports: vec![port.clone()] });
        assert!(all.is_taken(address, &key("b")) && !all.is_taken(address, &key("a")));
        assert!(all.is_port_taken(&port, &key("b")) && !all.is_port_taken(&port, &key("a")));
        assert!(!all.is_port_taken(&(port.0, "UDP".into()), &key("b")));
        all.own(&key("a"), Owned::default());
        assert!(!all.is_taken(address, &key("b")) && !all.is_port_taken(&port, &key("b")));
    }
}
