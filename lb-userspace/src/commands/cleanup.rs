//! `socklb cleanup`: takes out of force what a stopped agent left.
//!
//! Must never take anything from an agent that runs: whoever holds the lock of the pin directory is
//! one.

use anyhow::Result;

use crate::{cli::Cleanup, dataplane::PinDir};

/// Detaches the programs and removes the pins. Fails while an agent runs.
pub fn cleanup(options: &Cleanup) -> Result<()> {
    match PinDir::existing(&options.pin)? {
        Some(pins) => {
            pins.remove()?;
            eprintln!("removed {}", options.pin.display());
        }
        None => eprintln!("nothing to remove: {} does not exist", options.pin.display()),
    }
    Ok(())
}
