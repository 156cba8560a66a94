//! When the upkeep of the tables is due: work that can wait, and that makes others wait.
//!
//! Must never read a clock.

use std::time::{Duration, Instant};

/// Quiet time after which it is due.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// In a cluster that is never quiet for so long it is due when something has waited this long: seldom,
/// since new frontends wait for a grace period after a deletion.
pub(super) const OVERDUE: Duration = Duration::from_secs(5);

/// How long it was quiet, and how long something has waited.
pub(super) struct Upkeep {
    quiet_since: Instant,
    waiting_since: Option<Instant>,
}

impl Upkeep {
    pub(super) fn new(now: Instant) -> Self {
        Self { quiet_since: now, waiting_since: None }
    }

    /// A message came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    /// When it is due if no message comes.
    pub(super) fn due(&self) -> Instant {
        self.quiet_since + QUIET
    }

    /// Whether it is due, which it is not again soon. `waits`: something waits for it.
    pub(super) fn take_due(&mut self, waits: bool, now: Instant) -> bool {
        if !waits {
            self.waiting_since = None;
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
        let is_due = now >= self.due()
            || self.waiting_since.is_some_and(|since| now.duration_since(since) >= OVERDUE);
        if is_due {
            *self = Self::new(now);
        }
        is_due
    }
}
