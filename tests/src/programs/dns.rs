//! dnsmasq as a DNS server; dig, and the C library's resolver, as clients.
//!
//! Must never ask a server outside of the experiment: what dnsmasq does not know has no answer.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};

use super::{Process, Programs, Transport};
use crate::pod::Pod;

/// The name whose text records tell which server answered.
pub const WHO: &str = "who.lab.test";
/// The name whose address a server is told.
pub const WEB: &str = "web.lab.test";

/// Answers DNS questions on `port` of all the Pod's addresses, over UDP and TCP: [`WHO`] with the
/// text `identity`, [`WEB`] with the address `web`.
///
/// # Errors
/// When dnsmasq does not start; with its log.
pub fn serve(
    programs: &Programs<'_>,
    pod: &Pod,
    port: u16,
    identity: &str,
    web: IpAddr,
) -> Result<Process> {
    let addresses = pod.addresses(port);
    let mut configuration = format!(
        "keep-in-foreground\nlog-facility=-\nlog-queries\npid-file=\nuser=root\ngroup=root\n\
         no-resolv\nno-hosts\nbind-interfaces\nport={port}\n\
         local=/lab.test/\ntxt-record={WHO},{identity}\nhost-record={WEB},{web}\n"
    );
    for address in &addresses {
        configuration += &format!("listen-address={}\n", address.ip());
    }
    let file = programs.folder("dnsmasq")?.join("dnsmasq.conf");
    fs::write(&file, configuration)?;
    let open: Vec<_> = addresses
        .into_iter()
        .flat_map(|address| [Transport::Tcp, Transport::Udp].map(|transport| (transport, address)))
        .collect();
    programs
        .program("dnsmasq")?
        .inside(pod)
        .arg(format!("--conf-file={}", file.display()))
        .start(&open)
}

/// Asks `server` with dig for the text of [`WHO`].
///
/// # Errors
/// With what dig says, when it gets no answer.
pub fn dig(programs: &Programs<'_>, transport: Transport, server: SocketAddr) -> Result<String> {
    let transport = match transport {
        Transport::Tcp => "+tcp",
        Transport::Udp => "+notcp",
    };
    let text = programs
        .program("dig")?
        // Without the user's settings.
        .args(["-r", "+short", "+tries=2", "+time=5", transport])
        .args(["-p", &server.port().to_string()])
        .arg(format!("@{}", server.ip()))
        .args([WHO, "TXT"])
        .run()?
        .success()
        .with_context(|| format!("dig {transport} @{server}"))?;
    Ok(text.trim().trim_matches('"').to_owned())
}

/// Looks `name` up as programs do that know of no DNS: through the C library, whose resolv.conf
/// names `server`. Returns the addresses, each once.
///
/// # Errors
/// When there is none.
pub fn look_up(programs: &Programs<'_>, server: IpAddr, name: &str) -> Result<Vec<IpAddr>> {
    let text = programs
        .program("getent")?
        .names_from(server)?
        .args(["ahosts", name])
        .run()?
        .success()
        .with_context(|| format!("getent ahosts {name}, asking {server}"))?;
    // A line for each kind of socket.
    let mut addresses = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().next())
        .map(|word| word.parse().with_context(|| format!("getent wrote {word}")))
        .collect::<Result<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}
