//! `connect()` over and over on one socket, with nothing in between: the program alone, warm.
//!
//! Nothing here may ever send a packet.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::{Result, ensure};
use socket2::{Domain, Socket, Type};

/// Reserved for documentation (TEST-NET-1): no route in the lab leads there.
pub(super) const UNROUTED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1);

/// Connects by UDP, which sends nothing.
///
/// # Errors
/// When a connect fails.
pub(super) fn datagram(to: SocketAddrV4, connects: u32) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let to = to.into();
    for _ in 0..connects {
        socket.connect(&to)?;
    }
    Ok(())
}

/// Connects by TCP to what is, or is translated to, [`UNROUTED`]: right after the program has run,
/// the kernel finds no route, and leaves the socket as it was.
///
/// # Errors
/// When a connect ends in any other way.
pub(super) fn unrouted(to: SocketAddrV4, connects: u32) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let to = to.into();
    for _ in 0..connects {
        let result = socket.connect(&to);
        ensure!(
            matches!(&result, Err(error) if error.kind() == ErrorKind::NetworkUnreachable),
            "the kernel was to find no route, but returned {result:?}"
        );
    }
    Ok(())
}
