//! The kernel's side: loads and attaches the programs, owns the maps, and makes grace periods.
//!
//! All `unsafe` code of the agent is in `mapped`, `sys` and `cookie` here, one short function each.
//! Nothing in this module knows what a Service is.

#[forbid(unsafe_code)]
pub mod attach;
#[forbid(unsafe_code)]
pub mod carried;
#[forbid(unsafe_code)]
pub mod config;
mod cookie;
#[forbid(unsafe_code)]
pub mod grace;
#[forbid(unsafe_code)]
pub mod hooks;
#[forbid(unsafe_code)]
pub mod inspect;
#[forbid(unsafe_code)]
pub mod iterator;
mod mapped;
#[forbid(unsafe_code)]
pub mod object;
#[forbid(unsafe_code)]
pub mod store;
mod sys;

pub use attach::{AttachError, Attachment, PinDir};
pub use config::{Configuration, KernelConfig};
pub(crate) use cookie::netns_cookie;
pub use grace::KernelGrace;
pub use iterator::{OriginIterator, Origins};
pub use object::{LoadError, Loaded, Object, Settings};
pub use store::KernelStore;
