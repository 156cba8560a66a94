//! Who is to be left alone, repeated until the kernel has taken it.
//!
//! A set is told once, and the kernel may have no memory for it just then. This module must never
//! wait: the owner comes back to it.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tracing::{error, info};

use super::Surroundings;
use crate::chain::chain;

/// How long a set that was refused is left at that.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The set that was told last, unless it is in force.
#[derive(Debug, Default)]
pub(super) struct LeftAlone {
    refused: Option<Refused>,
}

/// A set that is not in force as a whole.
#[derive(Debug)]
struct Refused {
    cookies: BTreeSet<u64>,
    at: Instant,
    reason: String,
}

impl LeftAlone {
    /// Leaves these network namespaces alone, and no others.
    pub(super) fn set(
        &mut self,
        cookies: BTreeSet<u64>,
        surroundings: &mut impl Surroundings,
        now: Instant,
    ) {
        let before = self.refused.take();
        self.tell(cookies, None, surroundings, now);
        if before.is_some() {
            self.tell_success();
        }
    }

    /// Tries again what was refused, if it is time to.
    pub(super) fn repeat(&mut self, surroundings: &mut impl Surroundings, now: Instant) {
        let due = |refused: &mut Refused| now.duration_since(refused.at) >= PAUSE;
        if let Some(Refused { cookies, reason, .. }) = self.refused.take_if(due) {
            self.tell(cookies, Some(reason), surroundings, now);
            self.tell_success();
        }
    }

    /// Whether nothing is to be repeated.
    pub(super) fn is_settled(&self) -> bool {
        self.refused.is_none()
    }

    /// Logs a failure unless it was `known`.
    fn tell(
        &mut self,
        cookies: BTreeSet<u64>,
        known: Option<String>,
        surroundings: &mut impl Surroundings,
        at: Instant,
    ) {
        let Err(error) = surroundings.opt_out(&cookies) else { return };
        let reason = chain(&error);
        if known.as_ref() != Some(&reason) {
            error!(
                "some Pods that opted out are balanced nevertheless (tried again every {PAUSE:?}): \
                 {reason}"
            );
        }
        self.refused = Some(Refused { cookies, at, reason });
    }

    fn tell_success(&self) {
        if self.is_settled() {
            info!("all Pods that opted out are left alone again");
        }
    }
}
