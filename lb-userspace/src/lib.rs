//! socklb's agent: from Kubernetes objects to the BPF tables.
//!
//! ```text
//!  manifests/*.yaml ── source::manifests ── events ──> model ──> publish ──> dataplane ──> lb-ebpf
//!                                                      pure      pure over    BPF maps     programs
//!                                                                a Store
//! ```
#[forbid(unsafe_code)]
pub mod model;
#[forbid(unsafe_code)]
pub mod source;
