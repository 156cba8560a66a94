//! The agent: one owner that events reach through a channel.
//!
//! ```text
//!  sources ─────── events ─┐
//!  opt-outs ── namespaces ─┤
//!  grace thread ── ended ──┤── channel ──> owner: model, publisher, attachment ──> closer
//!  signals ─────── stop ───┘
//! ```
//!
//! Everything that changes belongs to the owner's thread; nothing is shared behind a lock. Events
//! that wait in the channel are folded into one publication.

mod core;
mod owner;

pub use self::{
    core::Core,
    owner::{Message, Owner, Surroundings},
};
