//! What the model tells its caller: frontends, where they lead, and what became of backends.
//!
//! This module must never decide anything: it is the shape of decisions.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Backends, Notice};

/// The transport protocol of a frontend, numbered as by IANA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// Every protocol: only in the key of a [`FrontendKind::Known`].
    Any = 0,
    /// TCP, MPTCP included.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Any => "any",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What clients connect or send to. [`fmt::Display`]: `10.96.0.10:53/UDP`, `[fd00::a]:53/UDP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey {
    /// Never an IPv4-mapped IPv6 address.
    pub address: IpAddr,
    /// 1 to 65535; 0 in the key of a [`FrontendKind::Known`].
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)
    }
}

/// What makes an address and port a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendKind {
    /// An address of `spec.clusterIPs`.
    ClusterIp,
    /// An address of `status.loadBalancer.ingress`.
    LoadBalancer,
    /// An address of `spec.externalIPs`.
    ExternalIp,
    /// A node port on one of the node's own addresses.
    NodePort,
    /// No frontend, but the mark of a ClusterIP that another proxy serves: whatever its port, it is
    /// neither translated nor refused. Its key has port 0 and [`Protocol::Any`].
    Known,
}

impl fmt::Display for FrontendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClusterIp | Self::Known => "ClusterIP",
            Self::LoadBalancer => "load balancer address",
            Self::ExternalIp => "external IP",
            Self::NodePort => "node port",
        })
    }
}

/// A frontend as it is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// The Service port: `namespace/name:port-name/TCP`, or `namespace/name/TCP` where the port has
    /// no name. All frontends of one port share it. `namespace/name` for [`FrontendKind::Known`].
    pub name: Arc<str>,
    /// What makes it a frontend.
    pub kind: FrontendKind,
    /// For how many seconds after its last connection a client stays with its backend; 0: not.
    pub affinity: u32,
    /// Only for clients in the node's own network namespace: 127.0.0.1 is another in every Pod.
    pub host_only: bool,
    /// Where it leads.
    pub target: Target,
}

/// What becomes of a connection to a frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It goes on as if there were no frontend, and is never refused.
    Pass,
    /// It goes to one of these; without any it is refused. Frontends of one Service port that have
    /// the same backends share the allocation.
    Balance(Arc<Backends>),
}

/// A frontend that appeared, changed or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendChange {
    /// The address and port that clients connect to.
    pub key: FrontendKey,
    /// All of it, or `None`: remove.
    pub state: Option<Frontend>,
}

/// A backend that no longer serves a Service port: it is gone, or neither ready nor serving.
///
/// That a backend receives no new connections because of a policy, a topology hint or what became
/// of others, does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retired {
    /// The Service port, as [`Frontend::name`].
    pub name: Arc<str>,
    /// The backend's address and port.
    pub backend: SocketAddr,
}

/// What changed since the last call of [`super::Model::take_changes`].
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Sorted by key, each key once.
    pub frontends: Vec<FrontendChange>,
    /// Sorted, each once; only of protocols that [`super::Options::track`] names.
    pub retired: Vec<Retired>,
    /// What was left out, and why.
    pub notices: Vec<Notice>,
}
