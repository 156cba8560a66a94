//! Which sets of backends were in force at what time.
//!
//! Must never allow a set that was superseded before a connect began, nor rule out one that was
//! published meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

/// Publications that a connect can look back on. More happen in no connect.
const REMEMBERED: usize = 1 << 20;

/// Which sets were published when. A set is a word with a bit for each Pod.
pub(super) struct Log {
    sets: Vec<AtomicU64>,
    /// The last publication that has started, and the last that has ended.
    started: AtomicU64,
    ended: AtomicU64,
}

impl Log {
    pub(super) fn new() -> Self {
        let sets = (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect();
        Self { sets, started: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    pub(super) fn publish<R>(&self, number: u64, set: u64, publish: impl FnOnce() -> R) -> R {
        self.sets[number as usize % REMEMBERED].store(set, Ordering::Relaxed);
        self.started.store(number, Ordering::Release);
        let result = publish();
        self.ended.store(number, Ordering::Release);
        result
    }

    /// The last publication that has ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Every backend of a set that was in force at some time since `first` had ended.
    pub(super) fn union_since(&self, first: u64) -> u64 {
        let last = self.started.load(Ordering::Acquire);
        assert!(last - first < REMEMBERED as u64, "a connect outlasted the log of publications");
        (first..=last)
            .map(|number| self.sets[number as usize % REMEMBERED].load(Ordering::Relaxed))
            .fold(0, |union, set| union | set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sets_in_force_meanwhile_are_allowed() {
        let log = Log::new();
        log.publish(0, 0b001, || ());
        log.publish(1, 0b010, || ());
        let first = log.ended();
        assert_eq!(log.union_since(first), 0b010, "what was superseded before does not count");
        // A publication that is under way counts, since a connect may see it or not yet.
        log.publish(2, 0b100, || assert_eq!(log.union_since(first), 0b110));
        assert_eq!(log.union_since(log.ended()), 0b100);
    }
}
