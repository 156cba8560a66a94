//! Publication: brings the tables to what the model wants, while connects read them.
//!
//! ```text
//!  set:     block <- backends          (unreachable; unless the Service port has the set already)
//!           slot.range <- block        one 64-bit release store: from here on the new set
//!           key -> slot                only for a new frontend
//!           old block -> limbo         when its last frontend has left it
//!  remove:  slot.range <- GONE         one 64-bit release store: from here on no frontend
//!  purge:   key deleted, slot -> limbo later, in batches; no key is inserted until a grace
//!                                      period has passed, since a freed hash element is reused
//!                                      at once and written by memcpy
//! ```
//!
//! [`Publisher`] keeps that order on any [`Store`]: the kernel's maps, plain memory that tests read
//! as a BPF program would, or the interleaving checker's. It must never write to anything that a
//! reader can still reach, but for the words of a slot, each on its own.

mod capacity;
mod family;
mod frontends;
mod ids;
mod listing;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod ports;
mod publisher;
mod reclaim;
mod sets;
mod store;
#[cfg(test)]
mod tests;

pub use capacity::{Failure, Reason, Sizes};
pub use family::{Family, PerFamily, Wire};
pub use ids::{Ids, UsedUp};
pub use publisher::{Publisher, Stats};
pub use store::{Grace, GraceError, Partial, Store, StoreError};
