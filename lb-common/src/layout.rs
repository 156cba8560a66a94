//! The shapes of the table entries, byte for byte as the kernel, the agent and `bpftool` see them.
//!
//! Every type is `#[repr(C)]` without padding; sizes and offsets are asserted beside each, so a
//! change of layout cannot slip in unseen. Words that are published with one store are 8 bytes long
//! and aligned to 8. Addresses are octets in network order, ports are in host order.
//!
//! This module must never hold logic that chooses: that is [`mod@crate::select`].

mod client;
mod config;
mod frontend;
mod origin;
mod service;

pub use self::{
    client::{Affinity, AffinityKey},
    config::{CIDRS, Cidr4, Cidr6, Config, NODE_PORT_WORDS, node_port_bit},
    frontend::{FrontendKey4, FrontendKey6, FrontendValue, PROTOCOL_ANY},
    origin::{ORIGIN_VERSION, Octets, Origin, PEERS, Peer, UdpOrigins},
    service::{Backend4, Backend6, HOST_ONLY, Range, Service},
};

/// Bytes in the value of `lb_names`: `namespace/name:port/protocol` at its longest (three DNS labels
/// of 63, 3, and three separators; `ServicePort.name` in the API of Kubernetes is a DNS label), in
/// UTF-8, filled with zeros.
pub const NAME_LEN: usize = 200;

/// Two 32-bit fields as the 64-bit word they form in memory, on either byte order.
#[inline(always)]
const fn word(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The inverse of [`word`].
#[inline(always)]
const fn halves(bits: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = bits.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}
