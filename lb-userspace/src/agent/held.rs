//! Backends that stopped serving, held back for a moment, since some serve again at once.
//!
//! Must never read a clock, nor decide who serves.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use crate::{close::Gone, plan::limbo::Period};

/// How long. The endpoints controller moves an endpoint from one slice to another by two writes, some
/// 20 to 80 ms apart. kube-proxy, which syncs once a second at most, hardly ever sees that.
pub(super) const RETURN: Duration = Duration::from_secs(1);

/// The id of a Service port, and a backend's address: what sockets remember.
type Key = (u32, SocketAddr);

/// Those that are held back, each once: when one goes again it is held anew, and what is asked for
/// then means its earlier sockets too.
#[derive(Default)]
pub(super) struct Held {
    backends: FxHashMap<Key, Left>,
    /// Some connect may still choose these, until the grace period has passed.
    fenced: VecDeque<(Period, Vec<Key>)>,
    /// No connect can choose these any more. With the time until which they may be back.
    returning: VecDeque<(Instant, Period, Vec<Key>)>,
}

struct Left {
    /// The Service port's.
    name: Arc<str>,
    /// As [`Gone::before`].
    before: u32,
    /// Tells the last time that it went from those before.
    period: Period,
}

impl Held {
    /// Holds backends that left the tables before `period`.
    pub(super) fn add(
        &mut self,
        period: Period,
        before: u32,
        left: impl IntoIterator<Item = (Arc<str>, Key)>,
    ) {
        let mut keys = Vec::new();
        for (name, key) in left {
            self.backends.insert(key, Left { name, before, period });
            keys.push(key);
        }
        self.fenced.push_back((period, keys));
    }

    /// Those that were held for long enough, each with the name of its Service port.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        is_past: impl Fn(Period) -> bool,
    ) -> Vec<(Arc<str>, Gone)> {
        while let Some((period, keys)) = self.fenced.pop_front_if(|(period, _)| is_past(*period)) {
            self.returning.push_back((now + RETURN, period, keys));
        }
        let mut due = Vec::new();
        while let Some((_, period, keys)) = self.returning.pop_front_if(|(until, ..)| *until <= now)
        {
            for key in keys {
                if self.backends.get(&key).is_some_and(|left| left.period == period)
                    && let Some(Left { name, before, .. }) = self.backends.remove(&key)
                {
                    due.push((name, Gone { service: key.0, backend: key.1, before }));
                }
            }
        }
        due
    }

    /// When [`Self::take_due`] may return some, if no grace period ends before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.returning.front().map(|(until, ..)| *until)
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.backends.keys().copied()
    }
}
