//! What an experiment has at hand: a cgroup that it runs in, the namespace of a client without any
//! route out, and a folder for its files.
//!
//! None of it may be had outside of a supervised child: it would change the machine's own network.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::{family::Family, ipv6, link, mounts, netns, pod::Pod, requirement, supervise};

/// Exists only in a supervised child, so whoever holds one is isolated.
#[derive(Debug)]
pub struct Lab {
    cgroup: PathBuf,
    scratch: PathBuf,
    ipv6: bool,
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
        let ipv6 = ipv6::missing().is_none();
        Ok(Some(Self { cgroup: surroundings.cgroup, scratch: surroundings.scratch, ipv6 }))
    }

    /// The directory of the cgroup that this process and its sockets belong to.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Whether Pods have IPv6 addresses, and the client can reach them.
    pub fn has_ipv6(&self) -> bool {
        self.ipv6
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
        mounts::own()?;
        let path = self.scratch.join("bpf");
        fs::create_dir(&path)?;
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a bpf filesystem")?;
        Ok(path)
    }

    /// Makes the Pod 10.244.0.(10 + `index`), fd00:10:244::a + `index` where the kernel has IPv6,
    /// and links it to the calling thread's namespace. `index` may be 0 to 244, each once.
    ///
    /// # Errors
    /// When the Pod exists already.
    pub fn pod(&self, index: u8) -> Result<Pod> {
        Pod::create(index, self.ipv6)
    }

    /// Gives the calling thread's namespace another address, on the loopback interface.
    ///
    /// # Errors
    /// When it has it already.
    pub fn assign(&self, address: impl Into<IpAddr>) -> Result<()> {
        link::assign(link::LOOPBACK, address.into())
    }

    /// Takes away what [`assign`](Self::assign) gave.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unassign(&self, address: impl Into<IpAddr>) -> Result<()> {
        link::unassign(link::LOOPBACK, address.into())
    }

    /// The kinds of sockets that can be had here. What is missing is noted as skipped, for the test
    /// on whose thread this is called.
    ///
    /// # Errors
    /// When a skip cannot be noted.
    pub fn families(&self) -> Result<&'static [Family]> {
        let Some(reason) = ipv6::missing() else { return Ok(&Family::ALL) };
        let thread = thread::current();
        requirement::note_skip(&format!("{} (V6, Mapped)", thread.name().unwrap_or("?")), &reason)?;
        Ok(&[Family::V4])
    }
}
