//! iperf3, which opens a TCP connection to control a test and another socket for its data.
//!
//! Nothing here may judge how fast it went.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Process, Programs, Transport};
use crate::pod::Pod;

/// Waits for one test on `address`, which must be one of the Pod's.
///
/// # Errors
/// When iperf3 does not start; with its log.
pub fn serve(programs: &Programs<'_>, pod: &Pod, address: SocketAddr) -> Result<Process> {
    programs
        .program("iperf3")?
        .inside(pod)
        .args(["--server", "--one-off", "--forceflush", "--bind", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .start(&[(Transport::Tcp, address)])
}

/// Sends `bytes` to `server`, and returns how many of them it had received when it was told, over
/// the other connection, that there are no more. Those on their way are not counted: over TCP less
/// than a MiB, since socket buffers are small; over UDP as many as a server that got no processor
/// had not read.
///
/// # Errors
/// With what iperf3 says, when it fails.
pub fn send(
    programs: &Programs<'_>,
    transport: Transport,
    server: SocketAddr,
    bytes: u64,
) -> Result<u64> {
    let mut program = programs.program("iperf3")?;
    program = match transport {
        Transport::Tcp => program.args(["--window", "64K"]),
        // Slow enough for nothing to be lost where both ends share a processor.
        Transport::Udp => program.args(["--udp", "--length", "1000", "--bitrate", "8M"]),
    };
    let text = program
        .args(["--client", &server.ip().to_string(), "--port", &server.port().to_string()])
        .args(["--bytes", &bytes.to_string(), "--json"])
        .run()?
        .success()
        .with_context(|| format!("iperf3 to {server}, {transport:?}"))?;
    let report: Report = serde_json::from_str(&text).with_context(|| format!("iperf3: {text}"))?;
    Ok(report.end.sum_received.bytes)
}

#[derive(Deserialize)]
struct Report {
    end: End,
}

#[derive(Deserialize)]
struct End {
    sum_received: Sum,
}

#[derive(Deserialize)]
struct Sum {
    bytes: u64,
}
