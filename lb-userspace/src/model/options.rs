//! What the model has to be told about its node and its task.
//!
//! This module must never hold what changes while the agent runs: that comes as events.

use std::net::IpAddr;

use ipnet::IpNet;

/// How the model reads objects. The default knows no node name, and follows no backend.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The name of the Node object that this agent runs on. Without one, no endpoint is local
    /// and no topology hint applies.
    pub node: Option<String>,
    /// Node ports are served on the node's addresses inside these networks; empty: on all.
    pub node_port_addresses: Vec<IpNet>,
    /// Serve node ports on 127.0.0.1 too, for the node's own network namespace.
    pub node_port_localhost: bool,
    /// Translate a ClusterIP even if a local interface has it.
    pub translate_local: bool,
    /// Addresses that no external IP or load balancer address may take over: the API server's, beside
    /// the endpoints of Service `default/kubernetes`.
    pub protected: Vec<IpAddr>,
    /// Whose backends [`super::Changes::retired`] and [`super::Model::serving`] tell.
    pub track: Tracked,
}

/// Protocols whose backends are followed, so that sockets can be closed when they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracked {
    /// Those of none.
    #[default]
    None,
    /// Those of UDP ports.
    Udp,
    /// Those of UDP and TCP ports.
    UdpAndTcp,
}
