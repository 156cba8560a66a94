//! All addresses of the calling thread's network namespace, as they are now.
//!
//! An interrupted dump must never pass for a whole one.

use std::{io, net::IpAddr};

use netlink_packet_core::NLM_F_DUMP_INTR;
use rustix::net::netdevice::name_to_index;

use super::{
    message::{Assigned, NEW_ADDRESS},
    socket::Socket,
};

/// kube-proxy's interface for the addresses of Services, in its IPVS mode.
const KUBE_IPVS: &str = "kube-ipvs0";
/// How often an interrupted dump is made anew before what there is has to do.
const ATTEMPTS: usize = 5;

/// What a dump found.
#[derive(Debug)]
pub(super) struct Dump {
    /// Sorted, each once.
    pub(super) addresses: Vec<IpAddr>,
    /// Whose addresses are left out.
    pub(super) kube_ipvs: Option<u32>,
    /// False if something changed meanwhile, each time: then some may be missing.
    pub(super) consistent: bool,
}

/// Asks the kernel, a few times if changes come in between.
pub(super) fn dump() -> io::Result<Dump> {
    let mut dump = once()?;
    for _ in 1..ATTEMPTS {
        if dump.consistent {
            break;
        }
        dump = once()?;
    }
    Ok(dump)
}

/// The index of kube-proxy's interface, in the namespace of `socket`.
pub(super) fn kube_ipvs(socket: &Socket) -> io::Result<Option<u32>> {
    match name_to_index(socket, KUBE_IPVS) {
        Err(rustix::io::Errno::NODEV) => Ok(None),
        other => Ok(other.map(Some)?),
    }
}

fn once() -> io::Result<Dump> {
    let mut socket = Socket::asking_for_addresses()?;
    // If it is made or renamed later, its notification leads to another dump.
    let kube_ipvs = kube_ipvs(&socket)?;
    let mut dump = Dump { addresses: Vec::new(), kube_ipvs, consistent: true };
    loop {
        for message in socket.receive()? {
            dump.consistent &= message.flags & NLM_F_DUMP_INTR == 0;
            if message.ends_dump()? {
                dump.addresses.sort_unstable();
                dump.addresses.dedup();
                return Ok(dump);
            }
            if message.kind == NEW_ADDRESS
                && let Some(found) = Assigned::read(message.payload)
                && found.counts()
                && Some(found.index) != kube_ipvs
            {
                dump.addresses.push(found.address);
            }
        }
    }
}
