//! A laboratory for socklb on the real kernel: every experiment runs in a process of its own, in a
//! cgroup of its own, among network namespaces without any route out.
//!
//! ```text
//!  supervising process            its child, in cgroup socklb-lab-<pid>-<n>
//!  ───────────────────            ─────────────────────────────────────────────────────────
//!  makes the cgroup        ──>    client namespace                   a namespace for each Pod
//!  waits, forwards signals        connect(), the agent      veth     listeners
//!  removes all of it              10.244.0.1           <──────────>  10.244.0.10 + index
//!                                 fd00:10:244::1                     fd00:10:244::a + index
//! ```
//!
//! The client's namespace also routes between Pods, so that each of them can be a client too.
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
//! Errors are `anyhow`'s, which people read, except where a test compares what the kernel says.
//!
//! Nothing here may ever send a packet outside of these namespaces, attach to a cgroup that it did
//! not make, or give a namespace a name under which it could outlive its process.
#![forbid(unsafe_code)]

pub mod agent;
pub mod apiserver;
mod cgroup;
pub mod churn;
pub mod client;
pub mod closing;
pub mod cluster;
pub mod exchange;
pub mod experiment;
pub mod family;
pub mod golden;
pub mod http;
mod ipv6;
mod isolate;
pub mod latency;
mod link;
pub mod manifest;
pub mod mounts;
pub mod netns;
pub mod objects;
mod owned;
pub mod plane;
pub mod pod;
pub mod port;
mod ports;
pub mod probing;
mod process;
pub mod programs;
pub mod reach;
pub mod requirement;
mod scratch;
pub mod server;
pub mod serving;
mod signals;
pub mod socket;
pub mod stage;
pub mod supervise;
pub mod usage;

pub use experiment::Lab;
pub use isolate::{Observed, isolated, isolated_with, observe};
