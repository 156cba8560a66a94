//! socklb's agent: from Kubernetes objects to the BPF tables.
//!
//! ```text
//!  kube-apiserver ──── source::kube ──────┐
//!  manifests/*.yaml ── source::manifests ─┤
//!  interfaces ──────── source::addresses ─┴ events ──> model ──> publish ──> dataplane ──> lb-ebpf
//!                                                      pure      pure over    BPF maps     programs
//!  Pods, Namespaces ── optout ── cookies of namespaces ───────── a Store ───> lb_optouts
//!                                              backends that stopped serving ──> close ──> sockets
//! ```
//!
//! [`commands`] puts it together, [`agent`] runs it, and [`plan`] says where things go in the tables.
#[forbid(unsafe_code)]
pub mod agent;
#[forbid(unsafe_code)]
mod chain;
#[forbid(unsafe_code)]
pub mod cli;
#[forbid(unsafe_code)]
pub mod close;
#[forbid(unsafe_code)]
pub mod commands;
pub mod dataplane;
#[forbid(unsafe_code)]
pub mod health;
#[forbid(unsafe_code)]
mod joined;
#[cfg(test)]
#[forbid(unsafe_code)]
mod logged;
#[forbid(unsafe_code)]
pub mod metrics;
#[forbid(unsafe_code)]
pub mod model;
#[forbid(unsafe_code)]
pub mod netns;
#[forbid(unsafe_code)]
pub mod optout;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod publish;
#[forbid(unsafe_code)]
pub mod source;
