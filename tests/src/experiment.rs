//! What an experiment has at hand: a cgroup that it runs in, the namespace of a client without any
//! route out, and a folder for its files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{link, netns, pod::Pod, supervise};

/// Exists only in a supervised child, so whoever holds one is isolated.
#[derive(Debug)]
pub struct Lab {
    cgroup: PathBuf,
    scratch: PathBuf,
}

impl Lab {
    /// In a supervised child: enters its cgroup, and a new network namespace with the calling
    /// thread and all that it starts later. Elsewhere: returns `None`.
    ///
    /// To be called before any socket is made, by a thread that lives until the process ends.
    ///
    /// # Errors
    /// When the surroundings are not as the supervisor left them, or without the right to make
    /// a namespace.
    pub fn enter() -> Result<Option<Self>> {
        let Some(surroundings) = supervise::enter()? else { return Ok(None) };
        netns::unshare_network()?;
        link::up(link::LOOPBACK)?;
        Ok(Some(Self { cgroup: surroundings.cgroup, scratch: surroundings.scratch }))
    }

    /// The directory of the cgroup that this process and its sockets belong to.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A folder that is removed with everything in it when this process has ended.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Mounts a bpf filesystem of the experiment's own and returns its path. Only the calling
    /// thread and what it starts later see it, and it goes with them.
    ///
    /// # Errors
    /// When the thread cannot have a mount namespace of its own, or the kernel has no such
    /// filesystem.
    pub fn bpffs(&self) -> Result<PathBuf> {
        unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
        let none = None::<&str>;
        // Nothing that is mounted from here on reaches the machine's own namespace.
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("cannot keep mounts to ourselves")?;
        let path = self.scratch.join("bpf");
        fs::create_dir(&path)?;
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), none)
            .context("cannot mount a bpf filesystem")?;
        Ok(path)
    }

    /// Makes the Pod 10.244.0.(10 + `index`) and links it to the calling thread's namespace.
    /// `index` may be 0 to 244, each once.
    ///
    /// # Errors
    /// When the Pod exists already.
    pub fn pod(&self, index: u8) -> Result<Pod> {
        Pod::create(index)
    }
}
