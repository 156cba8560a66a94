//! Why the BPF object could not be loaded, and what helps.
//!
//! A program that the agent can do without must never be an error here: its hook is left out.

use std::io;

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use thiserror::Error;

use crate::publish::StoreError;

/// The BPF object could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The kernel has no BTF of itself.
    #[error(
        "/sys/kernel/btf/vmlinux is missing: socklb needs a kernel that was built with \
         CONFIG_DEBUG_INFO_BTF (5.10 or newer)"
    )]
    NoBtf,
    /// A map could not be made.
    #[error(
        "cannot make the maps: run as root or with CAP_BPF and CAP_NET_ADMIN, and with memory enough \
         for --max-frontends, --max-backends and --max-affinity"
    )]
    Maps(#[source] EbpfError),
    /// The kernel refused the program without which nothing can be balanced.
    #[error("the kernel refuses the program {name}")]
    Program {
        /// Its name.
        name: &'static str,
        /// What the verifier said.
        source: ProgramError,
    },
    /// The object, or the kernel's account of it, lacks something that the agent expects.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// A descriptor could not be duplicated or read.
    #[error("cannot use a map's descriptor")]
    Descriptor(#[from] io::Error),
    /// A map could not be read.
    #[error("cannot read a map")]
    Map(#[from] MapError),
    /// An array could not be mapped into memory.
    #[error(transparent)]
    Store(#[from] StoreError),
}
