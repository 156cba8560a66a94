//! A Service port as the model would tell it to the publisher, spelled in a line.
//!
//! Backends must never be told unsorted or twice: the model does neither.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    sync::Arc,
};

use lb_userspace::model::{
    Address6, Backends, Frontend, FrontendChange, FrontendKey, FrontendKind, Protocol, Target,
};

use crate::family::Dual;

/// An address of the kind that clusters give to Services, which nothing in the laboratory has.
pub const fn cluster_ip(index: u8, port: u16) -> Dual {
    let last = index as u16;
    Dual::new(
        Ipv4Addr::new(10, 96, 0, index),
        Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, last),
        port,
    )
}

/// What is an address in one family, or in both.
pub trait Addresses {
    /// Each of them.
    fn addresses(&self) -> Vec<SocketAddr>;
}

impl Addresses for Dual {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.v4.into(), self.v6.into()]
    }
}

impl Addresses for SocketAddr {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![*self]
    }
}

impl Addresses for SocketAddrV4 {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![(*self).into()]
    }
}

impl Addresses for SocketAddrV6 {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![(*self).into()]
    }
}

/// A Service port: frontends and backends in both families, each family by itself.
#[derive(Clone, Debug)]
pub struct Port {
    name: Arc<str>,
    protocol: Protocol,
    frontends: Vec<SocketAddr>,
    backends: Vec<SocketAddr>,
    kind: FrontendKind,
    affinity: u32,
    host_only: bool,
    pass: bool,
}

impl Port {
    /// A TCP port named `namespace/service:port`.
    pub fn tcp(name: &str) -> Self {
        Self::new(name, Protocol::Tcp)
    }

    /// A UDP port named `namespace/service:port`.
    pub fn udp(name: &str) -> Self {
        Self::new(name, Protocol::Udp)
    }

    /// The marker of a ClusterIP that is known and not served, whatever its port.
    pub fn known(name: &str) -> Self {
        Self { kind: FrontendKind::Known, pass: true, ..Self::new(name, Protocol::Any) }
    }

    fn new(name: &str, protocol: Protocol) -> Self {
        let name =
            if protocol == Protocol::Any { name.into() } else { format!("{name}/{protocol}") };
        Self {
            name: name.into(),
            protocol,
            frontends: Vec::new(),
            backends: Vec::new(),
            kind: FrontendKind::ClusterIp,
            affinity: 0,
            host_only: false,
            pass: false,
        }
    }

    /// With these frontends.
    #[must_use]
    pub fn at<A: Addresses>(mut self, frontends: impl IntoIterator<Item = A>) -> Self {
        self.frontends = frontends.into_iter().flat_map(|each| each.addresses()).collect();
        self
    }

    /// With these backends, and no others.
    #[must_use]
    pub fn to<A: Addresses>(mut self, backends: impl IntoIterator<Item = A>) -> Self {
        self.backends = backends.into_iter().flat_map(|each| each.addresses()).collect();
        self
    }

    /// With session affinity for so many seconds; 0 for none.
    #[must_use]
    pub fn affinity(self, seconds: u32) -> Self {
        Self { affinity: seconds, ..self }
    }

    /// With frontends of this kind.
    #[must_use]
    pub fn kind(self, kind: FrontendKind) -> Self {
        Self { kind, ..self }
    }

    /// For the host's network namespace alone.
    #[must_use]
    pub fn host_only(self) -> Self {
        Self { host_only: true, ..self }
    }

    /// Known, but left to others.
    #[must_use]
    pub fn pass(self) -> Self {
        Self { pass: true, ..self }
    }

    /// The name that the tables have for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the publisher is told.
    pub fn changes(&self) -> impl Iterator<Item = FrontendChange> + '_ {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for backend in &self.backends {
            match backend {
                SocketAddr::V4(backend) => v4.push(*backend),
                SocketAddr::V6(backend) => {
                    v6.push(Address6 { address: *backend.ip(), port: backend.port() });
                }
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        let v4 = Arc::new(Backends::V4(v4.into()));
        let v6 = Arc::new(Backends::V6(v6.into()));
        self.frontends.iter().map(move |frontend| {
            let backends = if frontend.is_ipv4() { &v4 } else { &v6 };
            let target = if self.pass { Target::Pass } else { Target::Balance(backends.clone()) };
            let key = FrontendKey {
                address: frontend.ip(),
                port: frontend.port(),
                protocol: self.protocol,
            };
            let state = Frontend {
                name: self.name.clone(),
                kind: self.kind,
                affinity: self.affinity,
                host_only: self.host_only,
                target,
            };
            FrontendChange { key, state: Some(state) }
        })
    }
}
