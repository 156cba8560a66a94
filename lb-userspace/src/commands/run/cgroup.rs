//! Finds the cgroup v2 hierarchy.
//!
//! Must never mount one, nor pass over in silence that it may be a part of the node's alone.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};

/// Inode number of the first cgroup namespace (include/linux/proc_ns.h).
const PROC_CGROUP_INIT_INO: u64 = 0xefff_fffb;

/// What follows where [`is_the_nodes`] is false.
pub(in crate::commands) const OF_A_CONTAINER: &str = "the hierarchy that is mounted here begins at this container's own cgroup \
     (cgroup_namespaces(7)): nothing else is balanced; mount the node's, and name it with --cgroup, \
     as deploy/daemonset.yaml does";

/// Where the cgroup v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` where
/// the older hierarchies are mounted too.
pub(in crate::commands) fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    match mounts.lines().find_map(cgroup2_mount) {
        Some(path) => Ok(path),
        None => bail!("no cgroup v2 hierarchy is mounted: mount one, or name it with --cgroup"),
    }
}

/// Whether what [`root`] finds is the whole node's: in a cgroup namespace of its own, which is what
/// containers get, a process sees its own cgroup as the root.
pub(in crate::commands) fn is_the_nodes() -> bool {
    // Where the kernel has no such namespaces there is one hierarchy for all.
    fs::metadata("/proc/self/ns/cgroup").map_or(true, |it| it.ino() == PROC_CGROUP_INIT_INO)
}

/// The mount point, if the line of `mountinfo` (proc_pid_mountinfo(5)) is a cgroup v2 mount of the
/// whole hierarchy.
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    (filesystem.starts_with("cgroup2 ") && root == "/").then(|| point.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_cgroup2_mount_and_no_other() {
        let line = "36 25 0:31 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(line), Some("/sys/fs/cgroup/unified".into()));
        let part = "36 25 0:31 /kubepods /mnt rw - cgroup2 cgroup2 rw";
        let old = "30 25 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu";
        assert_eq!((cgroup2_mount(part), cgroup2_mount(old)), (None, None));
    }
}
