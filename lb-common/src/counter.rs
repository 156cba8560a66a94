//! The reasons that the programs count in `lb_counters`, one index each.
//!
//! What is no Service's must never be counted: it is everyone's path.

/// Index into `lb_counters`, an array of `u64` that programs add to atomically.
///
/// What is no Service's is not counted, nor are the further datagrams of a socket to a Service:
/// they are everyone's path, and pay for nothing.
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
    /// Refused: inside of a Service CIDR, and no Service's.
    Unserved = 4,
    /// Translated, but the socket had no room to remember it (its limit is net.core.optmem_max):
    /// it sees the backend's address.
    Untold = 5,
    /// A bind to a served node port was refused.
    PortTaken = 6,
}

impl Counter {
    /// Every counter, in the order of its index.
    pub const ALL: [Self; 7] = [
        Self::Translated,
        Self::NoBackend,
        Self::Unsettled,
        Self::Corrupt,
        Self::Unserved,
        Self::Untold,
        Self::PortTaken,
    ];

    /// What tools and metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::NoBackend => "no_backend",
            Self::Unsettled => "unsettled",
            Self::Corrupt => "corrupt",
            Self::Unserved => "unserved",
            Self::Untold => "untold",
            Self::PortTaken => "port_taken",
        }
    }
}
