//! Publication: brings the tables to what the model wants, while connects read them.
//!
//! ```text
//!  set:     block <- backends          (unreachable)
//!           slot.range <- block        one 64-bit release store: from here on the new set
//!           key -> slot                only for a new frontend
//!           old block -> limbo
//!  remove:  slot.range <- GONE         one 64-bit release store: from here on no frontend
//!           block -> limbo
//!  purge:   key deleted, slot -> limbo later, in batches; no key is inserted until a grace
//!                                      period has passed, since a freed hash element is reused
//!                                      at once and written by memcpy
//! ```
//!
//! [`Publisher`] keeps that order on any [`Store`]: the kernel's maps, plain memory that tests read
//! as a BPF program would, or the interleaving checker's. It must never write to anything that a
//! reader can still reach, but for the one word.

mod capacity;
mod listing;
#[cfg(test)]
mod memory;
mod publisher;
mod reclaim;
mod store;
#[cfg(test)]
mod tests;
mod wanted;

pub use capacity::{Failure, Reason, Sizes};
pub use publisher::{Publisher, Stats};
pub use store::{Grace, GraceError, Partial, Store, StoreError};
pub use wanted::{Frontend, FrontendChange};
