//! What is at an address, asked over both transports and in all families.
//!
//! It must never accept what one kind of socket alone sees.

use anyhow::{Result, ensure};

use crate::{
    Lab,
    exchange::{Means, Way},
    family::Dual,
    socket::Errno,
    stage::eventually,
};

/// Both transports. Unconnected UDP sockets are not told that nobody listens.
const BOTH: [Means; 2] = [Means::Tcp, Means::Udp(Way::ConnectedFrom)];

/// Checks that sockets of each kind get this there: who answers, or an error.
///
/// # Errors
/// When one of them gets something else.
pub fn expect(lab: &Lab, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
    for &family in lab.families()? {
        for means in BOTH {
            let got = means.reach(family, at);
            ensure!(got == wanted, "{at:?}, {means:?}, {family:?}: {got:?}, not {wanted:?}");
        }
    }
    Ok(())
}

/// Waits until sockets of each kind get this there.
///
/// # Errors
/// When that takes too long.
pub fn until(lab: &Lab, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
    eventually(&format!("{wanted:?} at {at:?}"), || Ok(expect(lab, at, wanted).is_ok()))
}
