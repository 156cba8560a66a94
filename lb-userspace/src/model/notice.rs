//! What the model left out, told in words.
//!
//! A notice must never be the only effect of an object that is valid and served: it is for what a
//! user wrote and will not get.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{FrontendKey, FrontendKind, Protocol};

/// Something that was ignored or dropped, and why. [`fmt::Display`] gives one sentence that names
/// the object. Each is yielded when it begins to hold, and not again while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A Service port of a protocol that has no frontends.
    Protocol {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The port's number, as written.
        port: i32,
        /// The port's protocol, as written.
        protocol: Box<str>,
    },
    /// An address of a Service that cannot be a frontend's.
    Address {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// What the Service has it for.
        kind: FrontendKind,
        /// The address, as written if it is not understood.
        address: Box<str>,
        /// Completes "because".
        reason: &'static str,
    },
    /// A Service port whose number is outside of 1-65535.
    PortNumber {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The number, as written.
        port: i32,
    },
    /// Two ports of one Service with the same number and protocol: the first counts.
    DuplicatePort {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The number.
        port: u16,
        /// The protocol.
        protocol: Protocol,
    },
    /// A time of affinity that no API server accepts.
    AffinityTimeout {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// As written.
        seconds: i32,
        /// What counts instead.
        used: u32,
    },
    /// A load balancer's address that is left alone because of `loadBalancerSourceRanges`.
    SourceRanges {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The address.
        address: IpAddr,
    },
    /// A ClusterIP that is left alone because a local interface has it.
    LocalInterface {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The address.
        address: IpAddr,
    },
    /// The API server's Service has no backend, and keeps those that it had last.
    LastKnown {
        /// `namespace/name` of the Service.
        service: Arc<str>,
    },
    /// `internalTrafficPolicy: Local` while the agent does not know its node's name.
    LocalWithoutNode {
        /// `namespace/name` of the Service.
        service: Arc<str>,
    },
    /// An endpoint that cannot be a backend.
    Endpoint {
        /// `namespace/name` of the slice.
        slice: Arc<str>,
        /// The address, as written.
        address: Box<str>,
        /// Completes "because".
        reason: &'static str,
    },
    /// A slice's port whose number is outside of 1-65535.
    EndpointPort {
        /// `namespace/name` of the slice.
        slice: Arc<str>,
        /// The number, as written.
        port: i32,
    },
    /// Two Services claim one address and port.
    Claim {
        /// The address and port.
        frontend: FrontendKey,
        /// `namespace/name` of the Service that has it.
        winner: Arc<str>,
        /// `namespace/name` of the Service that would take over.
        loser: Arc<str>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { service, port, protocol } => write!(
                f,
                "Service {service}: port {port}/{protocol} is not balanced, because only TCP and UDP are"
            ),
            Self::Address { service, kind, address, reason } => {
                write!(f, "Service {service}: {kind} \"{address}\" is ignored, because {reason}")
            }
            Self::PortNumber { service, port } => {
                write!(f, "Service {service}: port {port} is ignored, because ports are 1 to 65535")
            }
            Self::DuplicatePort { service, port, protocol } => write!(
                f,
                "Service {service}: port {port}/{protocol} is there more than once; the first one \
                 counts"
            ),
            Self::AffinityTimeout { service, seconds, used } => write!(
                f,
                "Service {service}: clientIP.timeoutSeconds {seconds} is not 1 to 86400; {used} \
                 counts instead"
            ),
            Self::SourceRanges { service, address } => write!(
                f,
                "Service {service}: load balancer address {address} is left untranslated, because \
                 loadBalancerSourceRanges limits its clients, whose addresses are not known when \
                 they connect"
            ),
            Self::LocalInterface { service, address } => write!(
                f,
                "Service {service}: ClusterIP {address} is left untranslated, because an interface \
                 of this node has it, as with NodeLocal DNSCache; --translate-local-addresses translates it \
                 all the same"
            ),
            Self::LastKnown { service } => write!(
                f,
                "Service {service}: no endpoint can serve, so the last known ones stay in force: the \
                 API server is reached by them"
            ),
            Self::LocalWithoutNode { service } => write!(
                f,
                "Service {service}: internalTrafficPolicy is Local, but the name of this node is \
                 not known, so no endpoint counts as local"
            ),
            Self::Endpoint { slice, address, reason } => write!(
                f,
                "EndpointSlice {slice}: endpoint \"{address}\" is dropped, because {reason}"
            ),
            Self::EndpointPort { slice, port } => write!(
                f,
                "EndpointSlice {slice}: port {port} is ignored, because ports are 1 to 65535"
            ),
            Self::Claim { frontend, winner, loser } => write!(
                f,
                "Service {loser}: {frontend} is not served, because Service {winner} has it (as its \
                 ClusterIP, as the older one, or as the first by name); it takes over when that one \
                 goes"
            ),
        }
    }
}
