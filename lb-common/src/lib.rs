//! What socklb's BPF programs and its agent share: the layout of the tables, and the
//! lookup-and-select logic that turns a destination into a backend.
//!
//! ```text
//!  {address, port, protocol}         slot                 index
//!  ───────────> lb_frontends4 ──────────> lb_services ──────────> lb_backends4
//!               {slot, tag}               {first, count}          {address, port, id}
//! ```
//!
//! [`select::select`] is generic over [`select::Tables`]. `lb-ebpf` implements that trait on BPF
//! maps; tests, the property checks and the interleaving checker implement it on plain memory.
//! The code that decides in the kernel is therefore the code that is tested outside of it.
//!
//! This crate must never allocate, panic, or depend on the standard library: all of it runs in
//! the kernel as well.
#![no_std]

pub mod counter;
pub mod layout;
#[cfg(feature = "user")]
mod pod;
pub mod select;

pub use counter::Counter;
pub use layout::{Backend4, FrontendKey4, FrontendValue, Range, Service};
pub use select::{Selection, Tables, select};
