//! The kernel's side: loads and attaches the programs, owns the maps, and makes grace periods.
//!
//! All `unsafe` code of the agent is in `mapped`, `sys` and `cookie` here, one short function each.
//! Nothing in this module knows what a Service is.

#[forbid(unsafe_code)]
mod attach;
#[forbid(unsafe_code)]
pub(crate) mod carried;
#[forbid(unsafe_code)]
mod config;
mod cookie;
#[forbid(unsafe_code)]
mod decisions;
#[forbid(unsafe_code)]
mod grace;
#[forbid(unsafe_code)]
pub mod hooks;
#[forbid(unsafe_code)]
pub mod inspect;
#[forbid(unsafe_code)]
mod iterator;
mod mapped;
#[forbid(unsafe_code)]
mod networks;
#[forbid(unsafe_code)]
mod object;
#[forbid(unsafe_code)]
mod store;
mod sys;

pub(crate) use attach::BPF_FS_MAGIC;
pub use attach::{AttachError, Attachment, PinDir};
pub use config::{Configuration, KernelConfig};
pub(crate) use cookie::netns_cookie;
pub use decisions::Decisions;
pub use grace::KernelGrace;
pub use iterator::{OriginIterator, Origins};
pub use networks::{NetworksError, ServiceNetworks};
pub use object::{LoadError, Loaded, Object, Settings};
pub use store::KernelStore;
