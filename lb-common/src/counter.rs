//! The reasons that the programs count in `lb_counters`, one index each.

/// Index into `lb_counters`, an array of `u64` that programs add to atomically.
///
/// Connects that are no Service's are not counted: they are everyone's, and pay for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// The destination was rewritten to a backend.
    Translated = 0,
    /// Refused: the Service has no eligible backend.
    NoBackend = 1,
    /// Passed untouched: the frontend's hash element changed hands at every attempt to read it.
    Unsettled = 2,
    /// Refused: a table named a slot or an index outside of the next one. Never seen in
    /// consistent tables.
    Corrupt = 3,
}

impl Counter {
    /// Every counter, in the order of its index.
    pub const ALL: [Self; 4] = [Self::Translated, Self::NoBackend, Self::Unsettled, Self::Corrupt];
}
