//! Why programs could not be attached or pinned, and what helps.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::dataplane::object::LoadError;

/// The program could not be attached or pinned.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The cgroup's directory cannot be opened.
    #[error("cannot open the cgroup {}: name a cgroup v2 directory with --cgroup", path.display())]
    Cgroup {
        /// What `--cgroup` says.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refuses the attachment.
    #[error(
        "the kernel refuses to attach {hook} to {}: name a cgroup v2 directory with --cgroup",
        path.display()
    )]
    Attach {
        /// The hook.
        hook: &'static str,
        /// What `--cgroup` says.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory for pins lies on another filesystem.
    #[error(
        "{} is not on a bpf filesystem: mount one (mount -t bpf bpf /sys/fs/bpf), or name a \
         directory on one with --pin",
        path.display()
    )]
    NotBpffs {
        /// What `--pin` says.
        path: PathBuf,
    },
    /// Another agent has the pin directory.
    #[error(
        "another agent uses {}: stop it first, or name another directory with --pin",
        path.display()
    )]
    Locked {
        /// What `--pin` says.
        path: PathBuf,
    },
    /// The pin directory could not be made.
    #[error(
        "cannot make {}: name a directory with --pin whose parent exists on a bpf filesystem, which \
         takes no dots in names",
        path.display()
    )]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something in the pin directory could not be read, replaced or removed.
    #[error("cannot {action} {}", path.display())]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The object is not what it should be.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What to make of an error on a file or directory among the pins.
pub(super) fn pin_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> AttachError {
    let path = path.to_owned();
    move |source| AttachError::Pin { action, path, source }
}
