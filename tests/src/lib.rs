//! A laboratory for socklb on the real kernel: every experiment runs in a process of its own, in a
//! cgroup of its own, among network namespaces without any route out.
//!
//! ```text
//!  supervising process            its child, in cgroup socklb-lab-<pid>-<n>
//!  ───────────────────            ─────────────────────────────────────────────────────────
//!  makes the cgroup        ──>    client namespace                   a namespace for each Pod
//!  waits, forwards signals        connect(), the agent      veth     listeners
//!  removes all of it              10.244.0.1           <──────────>  10.244.0.10 + index
//! ```
//!
//! ```no_run
//! lab::isolated(|lab| {
//!     let pod = lab.pod(1)?;
//!     let _server = pod.serve([(8080, 7)])?;
//!     let connection = lab::client::connect(pod.socket(8080), lab::client::TIMEOUT)?;
//!     assert_eq!(connection.identity()?, 7);
//!     Ok(())
//! });
//! ```
//!
//! Errors are `anyhow`'s throughout: nobody acts upon them, people read them.
//!
//! Nothing here may ever send a packet outside of these namespaces, attach to a cgroup that it did
//! not make, or give a namespace a name under which it could outlive its process.
#![forbid(unsafe_code)]

pub mod agent;
mod cgroup;
pub mod churn;
pub mod client;
pub mod closing;
pub mod experiment;
mod isolate;
pub mod latency;
mod link;
pub mod netns;
pub mod objects;
mod owned;
pub mod plane;
pub mod pod;
pub mod requirement;
mod scratch;
pub mod server;
mod signals;
pub mod supervise;

pub use experiment::Lab;
pub use isolate::{Observed, isolated, observe};
