//! API servers for experiments.
//!
//! [`Double`] is one of the lab's own, in the test's process: it answers as the real one does where
//! clients of Services and endpoints look, can be made to fail in each way that they have to survive,
//! counts what it is asked, and holds half a million endpoints. [`Real`] is etcd and kube-apiserver, where
//! there are any. [`ApiServer`] is whichever the run is for, so that one test runs on both.
//!
//! ```no_run
//! use lab::apiserver::{Double, Options};
//!
//! lab::isolated(|lab| {
//!     let server = Double::start(Options::default())?;
//!     let kubeconfig = server.access().write(lab.scratch())?;
//!     # let start_an_agent = |_| {};
//!     start_an_agent(kubeconfig);
//!     server.apply(k8s_openapi::api::core::v1::Node::default())?;
//!     Ok(())
//! });
//! ```
//!
//! Nothing here may listen on, or connect to, anything but 127.0.0.1 in the experiment's namespace.

mod access;
mod allocation;
mod answer;
mod discovery;
mod double;
mod either;
mod faults;
mod kind;
mod list;
mod listen;
#[cfg(test)]
mod load;
mod misdeeds;
mod node_ports;
mod object;
mod options;
mod parameters;
mod patch;
mod real;
mod resource;
mod seed;
mod selector;
mod service;
mod shared;
mod status;
mod store;
mod tls;
mod watch;
mod wire;
mod write;

pub use access::{Access, client};
pub use double::Double;
pub(crate) use either::is_real;
pub use either::{ApiServer, VARIABLE};
pub use faults::Fault;
pub use kind::Kind;
pub use options::{Options, SERVICE_CIDR4, SERVICE_CIDR6};
pub use parameters::Parameters;
pub use real::{ASSETS, PROGRAMS, Real, assets, check};
pub use resource::{Resource, Verb};
pub use shared::Asked;
pub use wire::Ending;
