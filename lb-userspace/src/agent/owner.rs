//! The owner's loop: takes messages, publishes, attaches once everything is listed.
//!
//! It must never block on anything but its channel and the publisher, nor look at the tables
//! itself.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Instant,
};

use anyhow::{Result, bail};
use ipnet::IpNet;
use tokio::sync::oneshot;
use tracing::{debug, error, info, trace, warn};

use super::{Core, core::Outcome, held::RETURN, left_alone::LeftAlone, upkeep::Upkeep};
use crate::{
    chain::chain,
    close::Gone,
    metrics::Metrics,
    plan::limbo::Period,
    publish::{Failure, Grace, Store, StoreError},
    source::{Arrival, Event},
};

/// Messages that are folded into one publication at most, so that a flood cannot put it off.
const FOLDED: usize = 10_000;

/// What reaches the owner.
#[derive(Debug)]
pub enum Message {
    /// An object changed, or all are listed. With its arrival, if that is to be timed.
    Event(Event, Option<Arrival>),
    /// No event will come any more.
    SourceEnded,
    /// These network namespaces are to be left alone, and no others.
    OptOuts(BTreeSet<u64>),
    /// A grace period ended.
    GraceEnded,
    /// To be answered, as a sign of life.
    Ping(oneshot::Sender<()>),
    /// End the agent, for this reason.
    Stop(&'static str),
}

/// What the owner has done by others: it never waits for them.
pub trait Surroundings {
    /// Leaves the sockets of these network namespaces alone, and no others. What fails is asked for
    /// again.
    fn opt_out(&mut self, cookies: &BTreeSet<u64>) -> Result<(), StoreError>;

    /// Refuses nothing for want of a Service from now on.
    fn stop_refusing(&mut self);

    /// Refuses what no Service has in these networks, if that is wanted at all. A grace period has
    /// passed since [`Self::stop_refusing`].
    fn refuse_in(&mut self, networks: &[IpNet]);

    /// Closes sockets that are connected to these backends. No connect can choose them any more.
    fn close(&mut self, gone: Vec<Gone>);

    /// Closes sockets that are connected to any backend but these, each named with the id of its
    /// Service port: after the start, when sockets may be older than the agent. No backend has the
    /// id `before` yet, nor a later one.
    fn close_all_but(&mut self, serving: HashSet<(u32, SocketAddr)>, before: u32);
}

/// The owner of everything that changes.
pub struct Owner<S, G, N> {
    core: Core<S, G>,
    surroundings: N,
    messages: Receiver<Message>,
    metrics: Metrics,
    left_alone: LeftAlone,
    /// Arrivals that are not in the tables as a whole: a new frontend waits for its key. What else
    /// came with it is timed with it.
    unlisted: Vec<Arrival>,
    /// When the Service networks can be changed, and to what.
    networks: Option<(Period, Vec<IpNet>)>,
    /// After this the programs of the generation before have run for the last time.
    alone: Option<Period>,
    /// When sockets are looked for that are older than the agent.
    older_due: Option<Instant>,
    upkeep: Upkeep,
}

impl<S: Store, G: Grace, N: Surroundings> Owner<S, G, N> {
    /// An owner that is fed by `messages`.
    pub fn new(
        core: Core<S, G>,
        surroundings: N,
        messages: Receiver<Message>,
        metrics: Metrics,
    ) -> Self {
        Self {
            core,
            surroundings,
            messages,
            metrics,
            left_alone: LeftAlone::default(),
            unlisted: Vec::new(),
            networks: None,
            alone: None,
            older_due: None,
            upkeep: Upkeep::new(Instant::now()),
        }
    }

    /// Runs until it is told to stop. `attach` is called once, when everything that existed at
    /// the start is published, with the frontends that could not be: no earlier, since a
    /// frontend without its backends would refuse. Returns what `attach` returned, so that the
    /// caller decides when it ends.
    pub fn run<A>(mut self, attach: impl FnOnce(&[Failure]) -> Result<A>) -> Result<Option<A>> {
        let mut attach = Some(attach);
        let mut attached = None;
        loop {
            let first = self.receive()?;
            let now = Instant::now();
            let Some(Published { synced, failures }) = self.publish(first, now)? else {
                return Ok(attached);
            };
            if synced && let Some(attach) = attach.take() {
                attached = Some(attach(&failures)?);
                self.alone = Some(self.core.publisher().fence());
            }
            self.keep_up(now)?;
        }
    }

    /// Waits for a message. `None` if there is something to do without one.
    fn receive(&mut self) -> Result<Option<Message>> {
        let received = match self.due() {
            None => self.messages.recv().map_err(RecvTimeoutError::from),
            Some(due) => self.messages.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(first) => Ok(Some(first)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("nothing can reach the agent any more"),
        }
    }

    /// When there is something to do, if no message comes before.
    fn due(&mut self) -> Option<Instant> {
        let settled = self.core.publisher().is_settled() && self.left_alone.is_settled();
        let upkeep = (!settled).then(|| self.upkeep.due());
        [upkeep, self.core.retired_due(), self.older_due].into_iter().flatten().min()
    }

    /// Takes the messages that wait, and publishes what they change. `None` if the agent is to stop.
    fn publish(&mut self, first: Option<Message>, now: Instant) -> Result<Option<Published>> {
        if first.is_some() {
            self.upkeep.heard(now);
        }
        let Some(Taken { events, synced, arrivals }) = self.take(first)? else { return Ok(None) };
        let mut failures = Vec::new();
        if events > 0 {
            let outcome = self.core.publish()?;
            // What failed is not published; of what came with it nobody knows which it is.
            if outcome.failures.is_empty() {
                self.unlisted.extend(arrivals);
            }
            self.time_published();
            log(events, &outcome);
            self.failed(&outcome.failures);
            failures = outcome.failures;
        }
        Ok(Some(Published { synced, failures }))
    }

    /// Does what a grace period or time has made possible: after the messages were answered, which
    /// must not wait for it.
    fn keep_up(&mut self, now: Instant) -> Result<()> {
        self.left_alone.repeat(&mut self.surroundings, now);
        let publisher = self.core.publisher();
        let is_due = self.upkeep.take_due(publisher.needs_upkeep(), now);
        let later = publisher.maintain(is_due)?;
        self.failed_later(&later);
        self.time_published();
        if self.alone.take_if(|alone| self.core.publisher().is_past(*alone)).is_some() {
            // What was listed may lack a backend that is back in a moment, too.
            self.older_due = Some(now + RETURN);
        }
        if self.older_due.take_if(|due| *due <= now).is_some() {
            let before = self.core.publisher().next_backend_id();
            self.surroundings.close_all_but(self.core.serving_ids(), before);
        }
        if let Some((_, networks)) =
            self.networks.take_if(|(period, _)| self.core.publisher().is_past(*period))
        {
            self.surroundings.refuse_in(&networks);
        }
        let gone = self.core.take_due_retired(now);
        if !gone.is_empty() {
            self.surroundings.close(gone);
        }
        Ok(())
    }

    /// The same of frontends that waited for their key: nobody knows with which change they came.
    fn failed_later(&mut self, failures: &[Failure]) {
        if !failures.is_empty() {
            self.unlisted.clear();
        }
        self.failed(failures);
    }

    /// Times what arrived, unless something of it is not in the tables yet.
    fn time_published(&mut self) {
        let publisher = self.core.publisher();
        if !self.unlisted.is_empty() && publisher.has_listed_all() {
            self.metrics.published(&self.unlisted);
            self.unlisted.clear();
        }
        self.metrics.waited(publisher.stats().waits);
    }

    /// Counts and logs what could not be brought to its wanted state.
    fn failed(&self, failures: &[Failure]) {
        self.metrics.failed_to_publish(failures.len());
        for failure in failures {
            let reason = chain(&failure.source);
            error!("{failure} could not be brought up to date, and will be tried again: {reason}");
        }
    }

    /// Takes the messages that wait. `None` if the agent is to stop.
    fn take(&mut self, first: Option<Message>) -> Result<Option<Taken>> {
        let mut taken = Taken { events: 0, synced: false, arrivals: Vec::new() };
        let Some(first) = first else { return Ok(Some(taken)) };
        for message in std::iter::once(first).chain(self.messages.try_iter()).take(FOLDED) {
            match message {
                Message::Stop(reason) => {
                    info!(reason, "stopping");
                    return Ok(None);
                }
                Message::SourceEnded => bail!("the source of objects has ended"),
                Message::GraceEnded => {}
                Message::OptOuts(cookies) => {
                    self.left_alone.set(cookies, &mut self.surroundings, Instant::now());
                }
                Message::Ping(answer) => {
                    // Whoever asked has lost patience when this fails.
                    let _ = answer.send(());
                }
                Message::Event(Event::ServiceNetworks(networks), _) => {
                    self.surroundings.stop_refusing();
                    self.networks = Some((self.core.publisher().fence(), networks));
                }
                Message::Event(event, arrival) => {
                    trace!("{event}");
                    taken.events += 1;
                    taken.arrivals.extend(arrival);
                    taken.synced |= matches!(event, Event::Synced);
                    self.core.apply(event);
                }
            }
        }
        Ok(Some(taken))
    }
}

/// What became of the messages.
struct Published {
    synced: bool,
    failures: Vec<Failure>,
}

/// What the messages brought.
struct Taken {
    events: usize,
    synced: bool,
    /// Of those events that are timed.
    arrivals: Vec<Arrival>,
}

fn log(events: usize, outcome: &Outcome) {
    for notice in &outcome.notices {
        warn!("{notice}");
    }
    debug!(events, frontends = outcome.changed, "published");
}
