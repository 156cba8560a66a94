//! Signals as messages to the owner.
//!
//! The second signal must never depend on the owner: it ends the process at once.

use std::{
    sync::{Arc, mpsc::Sender},
    thread,
};

use anyhow::{Context as _, Result};
use signal_hook::{
    consts::TERM_SIGNALS,
    flag,
    iterator::{Handle, Signals},
};

use crate::agent::Message;

/// Turns the first signal into a message, on a thread that ends with the handle.
pub(super) fn listen(sender: Sender<Message>) -> Result<Handle> {
    let again = Arc::default();
    for signal in TERM_SIGNALS {
        // In this order: the first signal only arms the shutdown that the second one makes.
        flag::register_conditional_shutdown(*signal, 1, Arc::clone(&again))
            .and_then(|_| flag::register(*signal, Arc::clone(&again)))
            .context("cannot take signals")?;
    }
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot take signals")?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            let _ = sender.send(Message::Stop("signal"));
        }
    })?;
    Ok(handle)
}
