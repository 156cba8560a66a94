//! The thread that keeps the cookies up to date.
//!
//! Every search answers for all Pods that opt out; what it did not find stays where it was found
//! before. This module must never give up on a Pod, nor search while nobody opts out.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{
    Message,
    find::{Find, FindError},
    known::Known,
    registry::{Notice, PodName, Registry, Sought, Wanted},
};
use crate::chain::chain;

/// The first pause before a Pod is looked for again; each further one is twice as long,
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// up to this.
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// The last pause for which a result is waited for, if searching fails: three seconds in all.
const AWAITED: Duration = Duration::from_millis(1600);
/// Messages that are taken in before a search.
const FOLDED: usize = 10_000;

pub(super) struct Resolver<F, O> {
    registry: Registry,
    find: F,
    out: O,
    /// What the last search looked for.
    wanted: Wanted,
    known: Known,
    /// What was handed out last; `None` before the first time.
    cookies: Option<BTreeSet<u64>>,
    notices: BTreeSet<Notice>,
    /// Pods that were said to be missing.
    missing: BTreeSet<PodName>,
    retry: Option<Retry>,
    /// Whether the last search failed.
    failed: bool,
    /// Who waits for a result.
    waiting: Vec<SyncSender<()>>,
    /// False once the kernel has turned out to be too old.
    possible: bool,
}

/// When to search again.
struct Retry {
    at: Instant,
    pause: Duration,
}

impl<F: Find, O: FnMut(&BTreeSet<u64>)> Resolver<F, O> {
    pub(super) fn new(registry: Registry, find: F, out: O) -> Self {
        Self {
            registry,
            find,
            out,
            wanted: Wanted::new(),
            known: Known::default(),
            cookies: None,
            notices: BTreeSet::new(),
            missing: BTreeSet::new(),
            retry: None,
            failed: false,
            waiting: Vec::new(),
            possible: true,
        }
    }

    /// Runs until nobody can send a message any more.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let first = match &self.retry {
                None => messages.recv().map_err(RecvTimeoutError::from),
                Some(retry) => {
                    messages.recv_timeout(retry.at.saturating_duration_since(Instant::now()))
                }
            };
            match first {
                Ok(first) => {
                    let more = messages.try_iter().take(FOLDED);
                    self.take(std::iter::once(first).chain(more));
                }
                Err(RecvTimeoutError::Timeout) => self.search(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.answer();
        }
    }

    /// Takes in messages and searches if they concern a Pod that opts out or did.
    fn take(&mut self, messages: impl Iterator<Item = Message>) {
        let mut told = BTreeSet::new();
        for message in messages {
            match message {
                Message::Apply(object) => told.extend(self.registry.apply(&object)),
                Message::Delete(key) => self.registry.delete(key),
                Message::Settle(answer) => self.waiting.push(answer),
            }
        }
        self.tell_notices();
        let wanted = self.registry.wanted();
        // What is told of a Pod may be that its sandbox was made anew, with the same address.
        if wanted != self.wanted || told.iter().any(|pod| wanted.contains_key(pod)) {
            self.wanted = wanted;
            self.known.retain(&self.wanted);
            self.missing.retain(|pod| self.wanted.contains_key(pod));
            self.retry = None;
            self.search();
        }
    }

    /// Answers those who wait for a result: programs should never run without knowing whom to leave
    /// alone. A search that goes on failing is not waited for any longer.
    fn answer(&mut self) {
        let goes_on = |retry: &Retry| retry.pause <= AWAITED;
        if self.waiting.is_empty() || self.failed && self.retry.as_ref().is_some_and(goes_on) {
            return;
        }
        if self.cookies.is_none() {
            self.hand_out(BTreeSet::new());
        }
        for answer in self.waiting.drain(..) {
            // Whoever waited may have gone.
            let _ = answer.send(());
        }
    }

    /// Looks for every Pod that opts out.
    fn search(&mut self) {
        if !self.possible {
            return;
        }
        if self.wanted.is_empty() {
            self.retry = None;
            self.hand_out(BTreeSet::new());
            return;
        }
        let all = self.wanted.values().flat_map(|sought| &sought.addresses);
        let addresses = all.copied().collect();
        let found = self.find.find(&addresses);
        self.failed = found.is_err();
        let found = match found {
            Ok(found) => found,
            Err(error @ FindError::NoCookies) => {
                warn!("opting out does not work: {error}; all Pods are balanced");
                self.possible = false;
                self.retry = None;
                return;
            }
            Err(error) => {
                let retry = self.retry_later();
                warn!(?retry, "cannot look for the Pods that opt out: {}", chain(&error));
                // Whoever opts out no more need not be found.
                if self.cookies.is_some() {
                    self.hand_out(self.known.cookies());
                }
                return;
            }
        };
        self.known.learn(&self.wanted, &found.cookies);
        let here = |pod: &Sought| pod.addresses.iter().any(|it| found.cookies.contains_key(it));
        // Those too that were found before: they may be elsewhere by now.
        let missing: Vec<_> = self
            .wanted
            .iter()
            .filter(|(_, sought)| !here(sought))
            .map(|(pod, _)| pod.clone())
            .collect();
        if missing.is_empty() {
            self.retry = None;
        } else if self.retry_later() == LAST_PAUSE {
            self.tell_missing(missing, found.denied);
        }
        self.hand_out(self.known.cookies());
    }

    fn retry_later(&mut self) -> Duration {
        let longer = |retry: &Retry| (retry.pause * 2).min(LAST_PAUSE);
        let pause = self.retry.as_ref().map_or(FIRST_PAUSE, longer);
        self.retry = Some(Retry { at: Instant::now() + pause, pause });
        pause
    }

    fn hand_out(&mut self, cookies: BTreeSet<u64>) {
        if self.cookies.as_ref() != Some(&cookies) {
            if self.cookies.is_some() || !cookies.is_empty() {
                info!(pods = self.wanted.len(), namespaces = cookies.len(), "Pods opt out");
            }
            (self.out)(&cookies);
            self.cookies = Some(cookies);
        }
    }

    /// Logs what did not hold before.
    fn tell_notices(&mut self) {
        let now = self.registry.notices();
        for notice in now.difference(&self.notices) {
            warn!("{notice}");
        }
        self.notices = now;
    }

    /// Logs, once each, the Pods that are still not there after a while, and never were.
    fn tell_missing(&mut self, missing: Vec<PodName>, denied: usize) {
        for pod in missing {
            debug!(%pod, "not found");
            if !self.known.has(&pod) && !self.missing.contains(&pod) {
                let addresses = &self.wanted[&pod].addresses;
                warn!(
                    denied,
                    "Pod {pod} opts out, but no network namespace on this node has an address of \
                     its ({addresses:?}); it is looked for every {LAST_PAUSE:?}. Is it a Pod of \
                     this node (--node-name), and may the agent see all processes (hostPID, \
                     CAP_SYS_PTRACE)?"
                );
                self.missing.insert(pod);
            }
        }
    }
}
