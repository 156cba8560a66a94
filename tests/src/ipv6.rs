//! Whether this kernel has IPv6, and how the laboratory's namespaces are set up for it.
//!
//! Interfaces must never get an address that nobody asked for, nor wait for one: the kernel makes
//! up link-local ones otherwise, and holds them back until it has tried whether they are free.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType},
};

/// Settings of the calling thread's network namespace.
const CONF: &str = "/proc/sys/net/ipv6/conf";
/// Addresses that an interface gets when it is switched on: none.
const ADDR_GEN_MODE_NONE: &str = "1";

/// Why no socket can use IPv6 here, or `None` if sockets can.
pub(crate) fn missing() -> Option<String> {
    match rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None) {
        Err(Errno::AFNOSUPPORT) => {
            Some("the kernel has no IPv6 (ipv6.disable=1, or built without)".into())
        }
        // Everything else is no reason to do without: it shows where it matters.
        Ok(_) | Err(_) => None,
    }
}

/// Sets up a namespace in which no interface but the loopback exists yet.
pub(crate) fn prepare() -> Result<()> {
    if missing().is_some() {
        return Ok(());
    }
    let conf = Path::new(CONF);
    let settings = [
        // An administrator may have switched it off for everything, ipv6.disable_ipv6=1.
        ("all/disable_ipv6", "0"),
        ("default/disable_ipv6", "0"),
        ("all/forwarding", "1"),
        ("default/addr_gen_mode", ADDR_GEN_MODE_NONE),
        ("default/accept_ra", "0"),
    ];
    for (name, value) in settings {
        fs::write(conf.join(name), value)
            .with_context(|| format!("cannot set net.ipv6.conf.{}", name.replace('/', ".")))?;
    }
    Ok(())
}
