//! `lb_config` and `lb_node_ports`: what changes while the programs run and belongs to no Service.
//!
//! Programs read all of it while it is written: no word may be stored in parts, and no prefix may
//! change while `refuse` is set.

use core::mem::{align_of, offset_of, size_of};

use super::word;

/// Service CIDRs that each family has room for.
pub const CIDRS: usize = 4;

/// An IPv4 prefix. Compared as words in the order of memory, so both are in network byte order; and
/// aligned like words, since BPF would load each octet apart otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Cidr4 {
    /// The prefix, with zeros behind it.
    pub address: [u8; 4],
    /// Ones where the prefix counts.
    pub mask: [u8; 4],
}

/// An IPv6 prefix, likewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Cidr6 {
    /// The prefix, with zeros behind it.
    pub address: [u8; 16],
    /// Ones where the prefix counts.
    pub mask: [u8; 16],
}

/// The only entry of `lb_config`. Each of its first three words is stored and loaded in one go; the
/// prefixes change only while [`Self::refuse`] is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Config {
    /// 1: what is inside of a Service CIDR and no Service's is refused.
    pub refuse: u8,
    /// 1: `lb_optouts` has entries.
    pub opt_outs: u8,
    /// 1: only sockets in the host's network namespace are balanced.
    pub host_scope: u8,
    /// 1: no socket may be bound to a served node port in the host's network namespace.
    pub protect_node_ports: u8,
    /// Entries of [`Self::cidrs4`] in use.
    pub cidr_count4: u16,
    /// Entries of [`Self::cidrs6`] in use.
    pub cidr_count6: u16,
    /// The cookie of the host's network namespace; 0: unknown (before kernel 5.14).
    pub host: u64,
    /// The next id of a Service port. Written for the next generation of tables.
    pub next_service: u32,
    /// The next id of a backend, likewise.
    pub next_backend: u32,
    /// IPv4 Service CIDRs.
    pub cidrs4: [Cidr4; CIDRS],
    /// IPv6 Service CIDRs.
    pub cidrs6: [Cidr6; CIDRS],
}

impl Config {
    /// Which of the entry's 8-byte words holds the next ids.
    pub const NEXT_IDS_WORD: usize = offset_of!(Self, next_service) / 8;

    /// The word that holds the next ids, to be stored at once.
    pub const fn next_ids(next_service: u32, next_backend: u32) -> u64 {
        word(next_service, next_backend)
    }
}

/// Words of `lb_node_ports`: a bit for each TCP port, then one for each UDP port.
pub const NODE_PORT_WORDS: usize = 2 * 65536 / 64;

/// Which word and bit of `lb_node_ports` a port has. `protocol` is 6 for TCP, else UDP.
#[inline(always)]
pub const fn node_port_bit(protocol: u8, port: u16) -> (u32, u64) {
    let base = if protocol == 6 { 0 } else { NODE_PORT_WORDS as u32 / 2 };
    (base + port as u32 / 64, 1 << (port % 64))
}

const _: () = {
    assert!(size_of::<Config>() == 24 + CIDRS * 8 + CIDRS * 32 && align_of::<Config>() == 8);
    assert!(offset_of!(Config, host) == 8 && offset_of!(Config, next_service) == 16);
    assert!(offset_of!(Config, next_backend) == 20);
    assert!(offset_of!(Config, cidrs4) == 24 && offset_of!(Config, cidrs6) == 24 + CIDRS * 8);
};
