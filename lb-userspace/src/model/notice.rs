//! What the model left out, told in words.
//!
//! A notice must never be the only effect of an object that is valid and served: it is for what a
//! user wrote and will not get.

use std::{fmt, sync::Arc};

use super::FrontendKey;

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
    /// A ClusterIP of an address family that has no frontends.
    AddressFamily {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The address, as written.
        address: Box<str>,
    },
    /// A ClusterIP that cannot be a frontend.
    ClusterIp {
        /// `namespace/name` of the Service.
        service: Arc<str>,
        /// The address, as written.
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
                "Service {service}: port {port}/{protocol} is not balanced, because only TCP is"
            ),
            Self::AddressFamily { service, address } => write!(
                f,
                "Service {service}: ClusterIP {address} is not balanced, because only IPv4 is"
            ),
            Self::ClusterIp { service, address, reason } => {
                write!(f, "Service {service}: ClusterIP \"{address}\" is ignored, because {reason}")
            }
            Self::PortNumber { service, port } => {
                write!(f, "Service {service}: port {port} is ignored, because ports are 1 to 65535")
            }
            Self::DuplicatePort { service, port } => write!(
                f,
                "Service {service}: port {port}/TCP is there more than once; the first one counts"
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
                "Service {loser}: {frontend} is not served, because Service {winner} is older or \
                 comes first by name; it takes over when that one goes"
            ),
        }
    }
}
