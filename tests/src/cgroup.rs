//! A cgroup of one's own: made, entered, emptied and removed.
//!
//! BPF programs attach to it, so it must never be anyone else's, least of all the root cgroup.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};

use crate::owned;

/// How long the processes in a cgroup may take to go, once killed.
const EMPTYING: Duration = Duration::from_secs(30);
/// How often removal is tried: a process that forks while it is killed makes a second round.
const ROUNDS: u32 = 3;

/// A cgroup v2 of this process's making. Dropping it kills what runs there, and removes it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes an empty cgroup, with a name of [`owned::name`], below this process's own, after removing
    /// those that killed runs left there.
    ///
    /// # Errors
    /// Without a cgroup v2 hierarchy, or without the right to write to it.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let parent = own()?;
        owned::sweep(&parent, remove_tree)
            .with_context(|| format!("cannot list the cgroup {}", parent.display()))?;
        let path = parent.join(name);
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the cgroup {}; run as root", path.display()))?;
        Ok(Self { path })
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills what still runs in the cgroup and removes it.
    ///
    /// # Errors
    /// When processes remain although they were killed.
    pub(crate) fn remove(self) -> Result<()> {
        self.dissolve()
    }

    fn dissolve(&self) -> Result<()> {
        for _ in 0..ROUNDS {
            if !self.path.exists() {
                return Ok(());
            }
            self.kill_all().with_context(|| format!("cannot empty {}", self.path.display()))?;
            ensure!(self.wait_until_empty()?, "processes in {} do not end", self.path.display());
            match remove_tree(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                other => {
                    return other.with_context(|| format!("cannot remove {}", self.path.display()));
                }
            }
        }
        bail!("cannot remove {}: new processes keep appearing in it", self.path.display())
    }

    fn kill_all(&self) -> io::Result<()> {
        // `cgroup.kill` came with 5.14. No O_CREAT: cgroupfs would answer EACCES, not ENOENT.
        match OpenOptions::new().write(true).open(self.path.join("cgroup.kill")) {
            Ok(mut file) => return file.write_all(b"1"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for cgroup in tree(&self.path)? {
            for pid in fs::read_to_string(cgroup.join("cgroup.procs"))?.lines() {
                if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                    // It may have ended by itself since it was listed.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
        Ok(())
    }

    /// Whether the last process left within [`EMPTYING`].
    fn wait_until_empty(&self) -> io::Result<bool> {
        let deadline = Instant::now() + EMPTYING;
        let mut events = File::open(self.path.join("cgroup.events"))?;
        loop {
            // The kernel raises POLLPRI for changes since this descriptor was last read.
            let mut text = String::new();
            events.rewind()?;
            events.read_to_string(&mut text)?;
            if text.lines().any(|line| line == "populated 0") {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = Timespec::try_from(left).expect("some seconds fit a timespec");
            match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.dissolve() {
            eprintln!("a cgroup is left behind: {error:#}");
        }
    }
}

/// The cgroup at `path` and those that were made inside of it, the innermost first.
fn tree(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut cgroups = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            cgroups.extend(tree(&entry.path())?);
        }
    }
    cgroups.push(path.to_owned());
    Ok(cgroups)
}

/// Removes an empty cgroup and those inside of it.
fn remove_tree(path: &Path) -> io::Result<()> {
    tree(path)?.into_iter().try_for_each(fs::remove_dir)
}

/// Moves the calling process, with all its threads, into the cgroup at `path`. Sockets made from
/// then on belong to it; earlier ones do not.
///
/// # Errors
/// When there is no such cgroup, or without the right to enter it.
pub(crate) fn enter(path: &Path) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path.join("cgroup.procs"))
        .and_then(|mut file| file.write_all(b"0"))
        .with_context(|| format!("cannot enter the cgroup {}", path.display()))
}

/// The cgroup v2 directory that this process is in, or the hierarchy's root if that directory is
/// not visible here.
///
/// # Errors
/// When no cgroup v2 hierarchy is mounted.
pub(crate) fn own() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let (root, mount) = mounts
        .lines()
        .find_map(cgroup2_mount)
        .context("no cgroup v2 hierarchy is mounted; see `mount -t cgroup2`")?;
    let memberships = fs::read_to_string("/proc/self/cgroup")?;
    let own = memberships
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .and_then(|path| Path::new(path).strip_prefix(root).ok())
        .map(|relative| Path::new(mount).join(relative))
        .filter(|path| path.is_dir());
    Ok(own.unwrap_or_else(|| mount.into()))
}

/// Root and mount point of a line of mountinfo (see proc_pid_mountinfo(5)) if it is a cgroup v2
/// hierarchy's.
fn cgroup2_mount(line: &str) -> Option<(&str, &str)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    if filesystem.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some((fields.next()?, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::cgroup2_mount;

    #[test]
    fn finds_the_unified_hierarchy_among_mounts() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(hybrid), Some(("/", "/sys/fs/cgroup/unified")));
        let shared = "30 23 0:26 /a /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup rw";
        assert_eq!(cgroup2_mount(shared), Some(("/a", "/sys/fs/cgroup")));
        let v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        assert_eq!(cgroup2_mount(v1), None);
    }
}
