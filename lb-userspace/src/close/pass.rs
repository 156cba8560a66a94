//! One pass after the other over the sockets, and which sockets are to be looked at again, and when.
//!
//! The clock is handed in, so that nothing here waits.

use std::{io, time::Instant};

use lb_common::layout::Origin;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    CloseError, DELAYS, Report, TCP,
    node::Node,
    request::Wanted,
    stale::Stale,
    sweep::{Swept, sweep},
};

/// Makes passes, and keeps what is to be looked at again.
pub(super) struct Passes<N> {
    node: N,
    /// By the socket's cookie.
    again: FxHashMap<u64, Again>,
    /// What was asked for when the origins could not be read.
    unanswered: Option<Unanswered>,
}

struct Again {
    stale: Stale,
    looks: usize,
    due: Instant,
}

/// Requests for which the origins could not be read.
struct Unanswered {
    wanted: Wanted,
    /// How often in a row that failed.
    tries: usize,
    due: Instant,
}

impl<N: Node> Passes<N> {
    pub(super) fn new(node: N) -> Self {
        Self { node, again: FxHashMap::default(), unanswered: None }
    }

    /// When the next pass is due, whether or not anything is asked for by then.
    pub(super) fn due(&self) -> Option<Instant> {
        let again = self.again.values().map(|again| again.due);
        again.chain(self.unanswered.as_ref().map(|unanswered| unanswered.due)).min()
    }

    /// Makes a pass for what is wanted and for what is due.
    pub(super) fn make(
        &mut self,
        mut wanted: Wanted,
        origins: &impl Fn() -> io::Result<Vec<Origin>>,
        clock: impl Fn() -> Instant,
    ) -> Report {
        let now = clock();
        let mut tries = 0;
        if let Some(unanswered) = self.unanswered.take() {
            wanted.merge(unanswered.wanted);
            tries = unanswered.tries;
        }
        let due: FxHashMap<_, _> = self.again.extract_if(|_, again| again.due <= now).collect();
        let mut report = Report::default();
        match origins() {
            Ok(origins) => {
                report.origins = origins.len();
                // The origin of a socket that is due is compared anew: it may have been connected
                // elsewhere meanwhile, and to the same backend without socklb.
                let is_due = |stale: &Stale| {
                    due.get(&stale.socket).is_some_and(|again| again.stale == *stale)
                };
                let stale: Vec<_> = origins
                    .iter()
                    .filter_map(Stale::new)
                    .filter(|stale| wanted.means(stale) || is_due(stale))
                    .collect();
                report.stale = stale.len();
                for stale in &stale {
                    self.again.remove(&stale.socket);
                }
                // A socket that is still not found may be where the first look does not reach.
                let swept = sweep(&mut self.node, stale, !due.is_empty());
                self.note(swept, &due, clock(), &mut report);
            }
            Err(error) => {
                report.errors.push(CloseError::Origins(error));
                let now = clock();
                if let Some(&delay) = DELAYS.get(tries).filter(|_| !wanted.is_empty()) {
                    self.unanswered =
                        Some(Unanswered { wanted, tries: tries + 1, due: now + delay });
                }
                for again in due.into_values() {
                    self.leave(again.stale, again.looks + 1, now, &mut report);
                }
            }
        }
        report.again = self.again.len();
        report
    }

    fn note(
        &mut self,
        swept: Swept,
        due: &FxHashMap<u64, Again>,
        now: Instant,
        report: &mut Report,
    ) {
        let tcp = swept.closed.iter().filter(|stale| stale.protocol == TCP).count();
        report.tcp = tcp;
        report.udp = swept.closed.len() - tcp;
        let backends: FxHashSet<_> =
            swept.closed.iter().map(|stale| (stale.service, stale.backend)).collect();
        report.backends = backends.len();
        report.missed = swept.lost.len();
        report.errors = swept.errors;
        for stale in swept.left {
            let looks = due.get(&stale.socket).map_or(0, |again| again.looks);
            self.leave(stale, looks + 1, now, report);
        }
    }

    /// Keeps a socket for another look, unless it had `looks` enough.
    fn leave(&mut self, stale: Stale, looks: usize, now: Instant, report: &mut Report) {
        match DELAYS.get(looks - 1) {
            Some(&delay) => {
                self.again.insert(stale.socket, Again { stale, looks, due: now + delay });
            }
            None => report.missed += 1,
        }
    }
}

#[cfg(test)]
mod tests;
