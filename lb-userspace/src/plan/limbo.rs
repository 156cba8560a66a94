//! Holds what a reader may still see, until a grace period has passed.
//!
//! Grace periods are numbered from 1. Something retired while number *n* is under way may have
//! been seen by a reader that *n* does not wait for, so it is free only when *n* + 1 has ended.
//! The limbo counts; it must never wait, and does not know how a grace period is made.

use std::collections::VecDeque;

/// Things waiting for a grace period, in the order they were retired.
#[derive(Debug)]
pub struct Limbo<T> {
    waiting: VecDeque<(Period, T)>,
    started: u64,
    finished: u64,
    /// The last period that was asked for beside what waits.
    fence: Period,
}

/// The number of a grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
    /// Before the first grace period: always past.
    pub const NONE: Self = Self(0);
}

impl<T> Default for Limbo<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), started: 0, finished: 0, fence: Period::NONE }
    }
}

impl<T> Limbo<T> {
    /// Keeps `item` until the next grace period to start has ended.
    pub fn retire(&mut self, item: T) {
        self.waiting.push_back((self.next(), item));
    }

    /// The next grace period that will start.
    pub fn next(&self) -> Period {
        Period(self.started + 1)
    }

    /// The next grace period that will start, which is due from now on though nothing may wait.
    pub fn fence(&mut self) -> Period {
        self.fence = self.next();
        self.fence
    }

    /// Whether a grace period has to come, or to end.
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty() || !self.is_past(self.fence)
    }

    /// Whether a grace period has ended.
    pub fn is_past(&self, period: Period) -> bool {
        period.0 <= self.finished
    }

    /// Notes that a grace period starts now. There must be none under way.
    pub fn start(&mut self) {
        debug_assert!(!self.under_way());
        self.started += 1;
    }

    /// Whether a grace period was started and has not ended.
    pub fn under_way(&self) -> bool {
        self.started != self.finished
    }

    /// Notes that the grace period under way has ended, and returns what it has set free.
    pub fn finish(&mut self) -> impl Iterator<Item = T> + use<'_, T> {
        self.finished = self.started;
        let free = self.waiting.partition_point(|(period, _)| period.0 <= self.finished);
        self.waiting.drain(..free).map(|(_, item)| item)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_under_way_frees_only_what_was_retired_before_it_started() {
        let mut limbo = Limbo::default();
        limbo.retire("before");
        limbo.start();
        limbo.retire("during");
        let barrier = limbo.next();
        assert!(limbo.under_way());
        assert_eq!(limbo.finish().collect::<Vec<_>>(), ["before"]);
        assert!(!limbo.is_past(barrier));
        limbo.start();
        assert_eq!(limbo.finish().collect::<Vec<_>>(), ["during"]);
        assert!(limbo.is_past(barrier) && limbo.is_empty());
    }

    #[test]
    fn a_fence_is_due_until_a_period_that_started_after_it_has_ended() {
        let mut limbo = Limbo::<()>::default();
        assert!(!limbo.is_due());
        limbo.start();
        let fence = limbo.fence();
        assert_eq!(limbo.finish().count(), 0);
        assert!(limbo.is_due() && !limbo.is_past(fence));
        limbo.start();
        assert!(limbo.is_due());
        assert_eq!(limbo.finish().count(), 0);
        assert!(!limbo.is_due() && limbo.is_past(fence));
    }
}
