//! Durations, counted in a histogram that answers for percentiles.
//!
//! None may get lost: what is too long for it counts as the longest.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer durations are counted as this one, in nanoseconds.
const MAXIMUM: u64 = 60_000_000_000;
/// Decimal digits that are told apart.
const PRECISION: u8 = 3;

/// Durations from a nanosecond to a minute, with three significant digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAXIMUM, PRECISION).expect("the bounds are valid"))
    }
}

impl Latency {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(MAXIMUM));
    }

    /// Counts all that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration, in nanoseconds, that this part of all (0.5, 0.99) does not exceed; 0 when
    /// nothing was counted.
    pub fn quantile_ns(&self, part: f64) -> u64 {
        self.0.value_at_quantile(part)
    }
}
