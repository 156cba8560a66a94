//! The publisher on plain memory: whatever the order of changes and grace periods, readers find
//! what is wanted, or, where a table is full, what they had.

mod capacity;
mod carried;
mod frontends;
mod listing;
mod properties;
mod sets;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use super::{
    Ids, Publisher, Sizes,
    memory::{Manual, Memory},
};
use crate::model::{
    Address6, Backends, Frontend, FrontendChange, FrontendKey, FrontendKind, Protocol, Target,
};

type Twin = Publisher<Memory, Manual>;

fn twin(frontends: u32, backends: u32) -> (Twin, Manual) {
    let grace = Manual::default();
    let sizes = Sizes::new(frontends, backends);
    (Publisher::new(Memory::new(sizes), grace.clone(), sizes, Ids::default()), grace)
}

impl Twin {
    /// Publishes without a failure.
    fn publish(&mut self, changes: impl IntoIterator<Item = FrontendChange>) {
        let failures = self.apply(changes).unwrap();
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// The addresses that a connect may reach.
    fn reachable(&self, key: FrontendKey) -> Option<BTreeSet<SocketAddr>> {
        let backends = self.store().backends_of(&key)?;
        Some(backends.iter().map(|backend| backend.address).collect())
    }

    /// The ids of a frontend's backends.
    fn ids_of(&self, key: FrontendKey) -> Vec<u32> {
        let backends = self.store().backends_of(&key).unwrap();
        backends.iter().map(|backend| backend.id).collect()
    }
}

fn key(number: u8) -> FrontendKey {
    let address = Ipv4Addr::new(10, 96, 0, number).into();
    FrontendKey { address, port: 80, protocol: Protocol::Tcp }
}

fn key6(number: u8) -> FrontendKey {
    let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into();
    FrontendKey { address, port: 80, protocol: Protocol::Tcp }
}

/// Backends by the numbers of their hosts, in the family of a frontend.
fn backends(key: FrontendKey, hosts: impl IntoIterator<Item = u8>) -> Arc<Backends> {
    let hosts: BTreeSet<u8> = hosts.into_iter().collect();
    let hosts = hosts.into_iter();
    let four = |host| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 80);
    let six = |host| {
        let address = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, u16::from(host));
        Address6 { address, port: 80 }
    };
    Arc::new(match key.address {
        IpAddr::V4(_) => Backends::V4(hosts.map(four).collect()),
        IpAddr::V6(_) => Backends::V6(hosts.map(six).collect()),
    })
}

fn hosts(key: FrontendKey, hosts: impl IntoIterator<Item = u8>) -> Option<BTreeSet<SocketAddr>> {
    Some(backends(key, hosts).iter().collect())
}

/// A ClusterIP of the Service port of this name.
fn frontend(key: FrontendKey, name: &str, hosts: impl IntoIterator<Item = u8>) -> Frontend {
    Frontend {
        name: name.into(),
        kind: FrontendKind::ClusterIp,
        affinity: 0,
        host_only: false,
        target: Target::Balance(backends(key, hosts)),
    }
}

fn put(key: FrontendKey, frontend: Frontend) -> FrontendChange {
    FrontendChange { key, state: Some(frontend) }
}

/// A frontend of the Service port of this name gets these backends.
fn set(key: FrontendKey, name: &str, hosts: impl IntoIterator<Item = u8>) -> FrontendChange {
    put(key, frontend(key, name, hosts))
}

/// A frontend is left to others.
fn pass(key: FrontendKey, name: &str) -> FrontendChange {
    put(key, Frontend { target: Target::Pass, ..frontend(key, name, []) })
}

fn remove(key: FrontendKey) -> FrontendChange {
    FrontendChange { key, state: None }
}
