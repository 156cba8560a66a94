//! What is told of a frontend and its backends: the shapes that `socklb services -o json` prints.
//!
//! Nothing here may read a table.

use std::net::{IpAddr, SocketAddr};

use lb_common::{FrontendKey4, FrontendKey6, layout::NAME_LEN};
use serde::Serialize;

/// A frontend as connects see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontendView {
    /// `namespace/name:port/protocol`; empty if the agent has not named it.
    pub name: String,
    /// Address that clients connect to.
    pub address: IpAddr,
    /// Port that clients connect to; 0 for the whole of an address that is left to others.
    pub port: u16,
    /// `TCP`, `UDP`, `any`, or the IANA number.
    pub protocol: String,
    /// Index into `lb_services`.
    pub slot: u32,
    /// Key into `lb_names`.
    pub id: u32,
    /// Seconds that a client stays with its backend after its last connect; 0: it does not.
    pub affinity: u32,
    /// Whether the frontend exists in the host's network namespace only.
    pub host_only: bool,
    /// Whether connects are left untouched.
    pub passed: bool,
    /// Where connects go to, in the order of their ids. Without any, and not passed: refused.
    pub backends: Vec<BackendView>,
}

impl FrontendView {
    /// What clients connect to, for people: `10.96.0.1:80/TCP`, or `10.96.0.1:*` for every port.
    pub fn place(&self) -> String {
        match (self.port, self.address) {
            (0, IpAddr::V4(address)) => format!("{address}:*"),
            (0, IpAddr::V6(address)) => format!("[{address}]:*"),
            (port, address) => format!("{}/{}", SocketAddr::new(address, port), self.protocol),
        }
    }
}

/// A backend as connects see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendView {
    /// Address and port.
    pub address: SocketAddr,
    /// Its id: the same for all frontends of a Service port, and in the next generation of tables.
    pub id: u32,
}

/// Address, port and protocol of a key of either family.
pub(super) trait Key: aya::Pod + Ord {
    /// The frontend that it stands for.
    fn parts(&self) -> (IpAddr, u16, u8);
}

impl Key for FrontendKey4 {
    fn parts(&self) -> (IpAddr, u16, u8) {
        (self.address.into(), self.port, self.protocol)
    }
}

impl Key for FrontendKey6 {
    fn parts(&self) -> (IpAddr, u16, u8) {
        (self.address.into(), self.port, self.protocol)
    }
}

/// A value of `lb_names` as text.
pub(super) fn name_of(value: &[u8; NAME_LEN]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// The name of an IANA protocol number.
pub(super) fn protocol(number: u8) -> String {
    match number {
        0 => "any".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        other => other.to_string(),
    }
}
