//! What the publisher is asked for: the IPv4 frontends of TCP.

use std::{net::SocketAddrV4, sync::Arc};

use lb_common::FrontendKey4;

/// A frontend that appeared, changed or went.
#[derive(Clone, Debug, PartialEq)]
pub struct FrontendChange {
    /// The address and port that clients connect to.
    pub key: FrontendKey4,
    /// All of it, or `None`: remove.
    pub state: Option<Frontend>,
}

/// A frontend as it is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// `namespace/name:port-name/TCP`, or `namespace/name/TCP` where the port has no name.
    pub name: Arc<str>,
    /// Sorted, each once. Empty: connections are to be refused.
    pub backends: Vec<SocketAddrV4>,
}
