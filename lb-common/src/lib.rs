//! What socklb's BPF programs and its agent share: the layout of the tables, and the
//! lookup-and-select logic that turns a destination into a backend.
//!
//! ```text
//!  {address, port, protocol}         slot                 index
//!  ───────────> lb_frontends4/6 ────────> lb_services ──────────> lb_backends4/6
//!               {slot, tag}               {first, count}          {address, port, id}
//! ```
//!
//! [`select::select`] is generic over the family, [`select::Tables`] and [`select::Client`].
//! `lb-ebpf` implements those traits on BPF maps; tests, the property checks and the interleaving
//! checker implement them on plain memory. The code that decides in the kernel is therefore the code
//! that is tested outside of it.
//!
//! This crate must never allocate, panic, or depend on the standard library: all of it runs in
//! the kernel as well.
#![no_std]

#[forbid(unsafe_code)]
pub mod counter;
#[forbid(unsafe_code)]
pub mod family;
#[forbid(unsafe_code)]
pub mod layout;
#[forbid(unsafe_code)]
pub mod peers;
#[cfg(feature = "user")]
mod pod;
#[forbid(unsafe_code)]
pub mod select;

pub use counter::Counter;
pub use family::{Family, V4, V6};
pub use layout::{
    Backend4, Backend6, FrontendKey4, FrontendKey6, FrontendValue, Octets, Origin, Range, Service,
    UdpOrigins,
};
pub use peers::Place;
pub use select::{AGENT_PRIORITY, Client, Earlier, Selected, Selection, Switches, Tables, select};
