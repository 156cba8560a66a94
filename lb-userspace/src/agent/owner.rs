//! The owner's loop: takes messages, publishes, attaches once everything is listed.
//!
//! It must never block on anything but its channel and the publisher, nor look at the tables
//! itself.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Result, bail};
use tracing::{debug, error, info, warn};

use super::{Core, core::Outcome};
use crate::{
    publish::{Failure, Grace, Store},
    source::Event,
};

/// Quiet time after which the keys of frontends that went away are deleted.
const IDLE: Duration = Duration::from_secs(1);

/// Messages that are folded into one publication at most, so that a flood cannot put it off.
const FOLDED: usize = 10_000;

/// What reaches the owner.
#[derive(Debug)]
pub enum Message {
    /// An object changed, or all are listed.
    Event(Event),
    /// No event will come any more.
    SourceEnded,
    /// A grace period ended.
    GraceEnded,
    /// End the agent, for this reason.
    Stop(&'static str),
}

/// The owner of everything that changes.
pub struct Owner<S, G> {
    core: Core<S, G>,
    messages: Receiver<Message>,
}

impl<S: Store, G: Grace> Owner<S, G> {
    /// An owner that is fed by `messages`.
    pub fn new(core: Core<S, G>, messages: Receiver<Message>) -> Self {
        Self { core, messages }
    }

    /// Runs until it is told to stop. `attach` is called once, when everything that existed at
    /// the start is published, with the number of frontends that could not be: no earlier, since a
    /// frontend without its backends would refuse. Returns what `attach` returned, so that the
    /// caller decides when it ends.
    pub fn run<A>(mut self, attach: impl FnOnce(usize) -> Result<A>) -> Result<Option<A>> {
        let mut attach = Some(attach);
        let mut attached = None;
        loop {
            let first = if self.core.publisher().is_settled() {
                self.messages.recv().map_err(RecvTimeoutError::from)
            } else {
                self.messages.recv_timeout(IDLE)
            };
            let mut synced = false;
            let mut events = 0usize;
            match first {
                Err(RecvTimeoutError::Timeout) => {
                    log_failures(self.core.publisher().maintain(true)?);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("nothing can reach the agent any more")
                }
                Ok(first) => {
                    for message in
                        std::iter::once(first).chain(self.messages.try_iter()).take(FOLDED)
                    {
                        match message {
                            Message::Stop(reason) => {
                                info!(reason, "stopping");
                                return Ok(attached);
                            }
                            Message::SourceEnded => bail!("the source of objects has ended"),
                            Message::GraceEnded => {}
                            Message::Event(event) => {
                                events += 1;
                                synced |= matches!(event, Event::Synced);
                                self.core.apply(event);
                            }
                        }
                    }
                }
            }
            let mut failures = 0;
            if events > 0 {
                let outcome = self.core.publish()?;
                failures = outcome.failures.len();
                log(events, outcome);
            }
            log_failures(self.core.publisher().maintain(false)?);
            if synced && let Some(attach) = attach.take() {
                attached = Some(attach(failures)?);
            }
        }
    }
}

fn log(events: usize, outcome: Outcome) {
    for notice in outcome.notices {
        warn!("{notice}");
    }
    debug!(events, frontends = outcome.changed, "published");
    log_failures(outcome.failures);
}

fn log_failures(failures: Vec<Failure>) {
    for failure in failures {
        error!("{failure} keeps what it has of its backends: {}", failure.source);
    }
}
