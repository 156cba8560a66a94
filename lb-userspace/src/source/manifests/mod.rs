//! A folder of YAML manifests as a source: a cluster's objects without a cluster.
mod error;
mod objects;
mod parse;
pub use self::error::{Error, Report};
