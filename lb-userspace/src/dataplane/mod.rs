//! The kernel's side: loads and attaches the programs, owns the maps, and makes grace periods.
//!
//! All `unsafe` code of the agent is in [`mapped`], `sys` and `cookie` here, one short function each. Nothing
//! in this module knows what a Service is.

#[forbid(unsafe_code)]
pub mod attach;
mod cookie;
#[forbid(unsafe_code)]
pub mod grace;
#[forbid(unsafe_code)]
pub mod inspect;
mod mapped;
#[forbid(unsafe_code)]
pub mod object;
#[forbid(unsafe_code)]
pub mod store;
mod sys;

pub use attach::{AttachError, Attachment, PinDir};
pub(crate) use cookie::netns_cookie;
pub use grace::KernelGrace;
pub use object::{LoadError, Object};
pub use store::KernelStore;
