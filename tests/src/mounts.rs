//! Mounts that the calling thread sees, and what it starts later, and nobody else.
//!
//! They go with the last process that sees them. This module must never mount anything before it
//! has a namespace of its own.

use std::path::Path;

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const NONE: Option<&str> = None;

/// Gives the calling thread a mount namespace of its own.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn own() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    // Nothing that is mounted from here on reaches the machine's own namespace.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot keep mounts to ourselves")
}

/// Gives the calling thread a mount namespace of its own, in which each first path lies over the
/// second, which must exist.
///
/// # Errors
/// Without CAP_SYS_ADMIN, or when a path does not exist.
pub fn cover<'a>(pairs: impl IntoIterator<Item = (&'a Path, &'a Path)>) -> Result<()> {
    own()?;
    for (source, target) in pairs {
        mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE).with_context(|| {
            format!("cannot mount {} over {}", source.display(), target.display())
        })?;
    }
    Ok(())
}
