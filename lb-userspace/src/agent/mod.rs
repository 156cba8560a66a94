//! The agent: one owner that events reach through a channel.
//!
//! ```text
//!  source ──────── objects ─┐
//!  interfaces ── addresses ─┤                      ┌ core: model, publisher ──> tables
//!  opt-outs ──── namespaces ┤── channel ──> owner ─┤ attachment, once all is listed
//!  grace thread ───── ended ┤                      └ surroundings: lb_optouts, closer
//!  signals ──────────  stop ┘
//! ```
//!
//! Everything that changes belongs to the owner's thread; nothing is shared behind a lock. Events
//! that wait in the channel are folded into one publication.

mod core;
mod held;
mod left_alone;
mod owner;
mod upkeep;

pub use self::{
    core::Core,
    owner::{Message, Owner, Surroundings},
};
