//! One pass after the other over the sockets, and which sockets are to be looked at again, and when.
//!
//! Nothing may be given up because something could not be read: that is tried again, after longer and
//! longer pauses, until it can be. The clock is handed in, so that nothing here waits.

use std::{
    io,
    time::{Duration, Instant},
};

use lb_common::layout::Origin;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    CloseError, DELAYS, Report, TCP,
    node::Node,
    request::Wanted,
    stale::Stale,
    sweep::{Swept, sweep},
};

/// How long after a failure it is read again; each further pause is twice as long,
const FIRST_PAUSE: Duration = DELAYS[0];
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    /// How often it was looked for where it can be.
    looks: usize,
    /// How often in a row it could not be looked for.
    failures: u32,
    due: Instant,
}

/// Requests for which the origins could not be read. However many come, each backend is kept once.
struct Unanswered {
    wanted: Wanted,
    /// How often in a row that failed when it was due.
    failures: u32,
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

    /// Whether something is kept because it could not be read.
    pub(super) fn is_failing(&self) -> bool {
        self.unanswered.is_some() || self.again.values().any(|again| again.failures > 0)
    }

    /// Makes a pass for what is wanted and for what is due.
    pub(super) fn make(
        &mut self,
        mut wanted: Wanted,
        origins: &impl Fn() -> io::Result<Vec<Origin>>,
        clock: impl Fn() -> Instant,
    ) -> Report {
        let now = clock();
        let mut earlier = None;
        if let Some(Unanswered { wanted: unanswered, failures, due }) = self.unanswered.take() {
            wanted.merge(unanswered);
            earlier = Some((failures, due));
        }
        // What could not be looked for goes together: each by its own clock would be a pass each.
        let timed = self.again.values().any(|again| again.due <= now);
        let goes = |again: &Again| again.due <= now || timed && again.failures > 0;
        let due: FxHashMap<_, _> = self.again.extract_if(|_, again| goes(again)).collect();
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
                if !wanted.is_empty() {
                    let (failures, due) = match earlier {
                        // Others do not put it off.
                        Some((failures, due)) if due > now => (failures, due),
                        earlier => {
                            let failures = earlier.map_or(0, |(failures, _)| failures);
                            (failures + 1, now + pause(failures))
                        }
                    };
                    self.unanswered = Some(Unanswered { wanted, failures, due });
                }
                for again in due.into_values() {
                    self.put_off(again.stale, Some(&again), now);
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
        for stale in swept.unread {
            self.put_off(stale, due.get(&stale.socket), now);
        }
    }

    /// Keeps a socket for another look, unless it had `looks` enough.
    fn leave(&mut self, stale: Stale, looks: usize, now: Instant, report: &mut Report) {
        match DELAYS.get(looks - 1) {
            Some(&delay) => {
                let again = Again { stale, looks, failures: 0, due: now + delay };
                self.again.insert(stale.socket, again);
            }
            None => report.missed += 1,
        }
    }

    /// Keeps a socket that could not be looked for, which is no look at it. `before` is what was known
    /// of it.
    fn put_off(&mut self, stale: Stale, before: Option<&Again>, now: Instant) {
        let (looks, failures) = before.map_or((0, 0), |again| (again.looks, again.failures));
        let due = now + pause(failures);
        self.again.insert(stale.socket, Again { stale, looks, failures: failures + 1, due });
    }
}

/// The pause after a failure, when so many came before it in a row.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
