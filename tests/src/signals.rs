//! SIGINT and SIGTERM, passed on to the children that this process supervises, so that they can
//! end in order before everything around them is removed.
//!
//! With no child to wait for, a signal does what it always does. This module must never end a
//! process while a [`Watch`] lives: its owner has something to remove.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

struct State {
    listening: bool,
    caught: Option<(i32, Instant)>,
    next: u64,
    /// Every living watch, and its child once there is one.
    watches: BTreeMap<u64, Option<Arc<OwnedFd>>>,
}

static STATE: Mutex<State> =
    Mutex::new(State { listening: false, caught: None, next: 0, watches: BTreeMap::new() });

fn state() -> MutexGuard<'static, State> {
    // Every change of the state is a single step, so a panic elsewhere leaves it whole.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps signals from ending this process, until dropped.
pub(crate) struct Watch {
    id: u64,
}

impl Watch {
    /// # Errors
    /// When a signal has asked this process to end.
    pub(crate) fn begin() -> Result<Self> {
        let mut state = state();
        if !state.listening {
            let signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
            thread::Builder::new().name("signals".into()).spawn(move || listen(signals))?;
            state.listening = true;
        }
        refuse_when_caught(&state)?;
        let id = state.next;
        state.next += 1;
        state.watches.insert(id, None);
        Ok(Self { id })
    }

    /// Starts a child that signals are passed on to. Returns it and its pidfd.
    ///
    /// # Errors
    /// When it cannot be started, or a signal has asked this process to end.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<(Child, Arc<OwnedFd>)> {
        // Under the lock, so that no signal falls between the start and the entry.
        let mut state = state();
        refuse_when_caught(&state)?;
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pidfd = Arc::new(pidfd_of(&child).inspect_err(|_| {
            // Nobody could wait for it.
            let _ = child.kill().and_then(|()| child.wait());
        })?);
        state.watches.insert(self.id, Some(Arc::clone(&pidfd)));
        Ok((child, pidfd))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        state().watches.remove(&self.id);
    }
}

fn refuse_when_caught(state: &State) -> Result<()> {
    match state.caught {
        Some((signal, _)) => bail!("signal {signal} has asked this process to end"),
        None => Ok(()),
    }
}

/// A descriptor that names the child, and turns readable when it ends.
pub(crate) fn pidfd_of(child: &Child) -> io::Result<OwnedFd> {
    Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
}

/// The first signal that asked this process to end, and when.
pub(crate) fn caught() -> Option<(i32, Instant)> {
    state().caught
}

/// Ends this process as a caught signal would have, unless others still have a [`Watch`]: then
/// the last of them does.
pub(crate) fn die_when_idle() {
    let state = state();
    if let (Some((signal, _)), true) = (state.caught, state.watches.is_empty()) {
        let _ = emulate_default_handler(signal);
    }
}

fn listen(mut signals: Signals) {
    for number in signals.forever() {
        let mut state = state();
        state.caught.get_or_insert((number, Instant::now()));
        let signal = if number == SIGINT { Signal::INT } else { Signal::TERM };
        for child in state.watches.values().flatten() {
            // A child that has ended meanwhile is what the signal wanted.
            let _ = pidfd_send_signal(child, signal);
        }
        drop(state);
        die_when_idle();
    }
}
