//! One HTTP request to a server on loopback, as a probe makes it.
//!
//! Must never leave the machine: any other address is refused.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks for a path. Returns the status and the body.
///
/// # Errors
/// When nobody answers, or not by HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ensure!(address.ip().is_loopback(), "{address} is no loopback address");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
