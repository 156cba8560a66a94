//! Names that say which process a thing in the file system belongs to, so that what a killed run
//! left behind is found and removed by the next one.
//!
//! A name is `socklb-lab-<pid>-<n>`. This module must never remove what a living process owns.

use std::{
    fs, io,
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const PREFIX: &str = "socklb-lab-";

/// A name that nothing else in this process has.
pub(crate) fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Calls `remove` on everything in `folder` whose owner is gone.
///
/// Its errors are ignored: whoever else sweeps at the same time may be faster.
///
/// # Errors
/// When `folder` cannot be listed.
pub(crate) fn sweep(folder: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let owner = entry.file_name().to_str().and_then(owner);
        if owner.is_some_and(|pid| !is_alive(pid)) {
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

/// Whether a process runs. A zombie does not: all that it owned is closed.
fn is_alive(pid: u32) -> bool {
    // The state follows the name, which may contain anything, in parentheses (proc_pid_stat(5)).
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// The process that a name belongs to, if it is one of ours.
fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn only_own_names_have_an_owner() {
        assert_eq!(owner("socklb-lab-17-0"), Some(17));
        assert_eq!(owner(&name()), Some(process::id()));
        for name in ["socklb-lab-17", "socklb-lab--1", "socklb-lab-17-x", "system.slice"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = process::Command::new("true").spawn().unwrap();
        // Readable as soon as the child has ended; it stays a zombie until it is waited for.
        let pidfd = crate::signals::pidfd_of(&child).unwrap();
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        assert_eq!(poll(&mut ended, None), Ok(1));
        assert!(!is_alive(child.id()));
        child.wait().unwrap();
        assert!(is_alive(process::id()));
    }

    #[test]
    fn what_the_living_own_survives_a_sweep() {
        let folder = tempfile::tempdir().unwrap();
        // Above the highest pid that Linux can be configured to give out.
        let stale = folder.path().join("socklb-lab-4194305-0");
        let own = folder.path().join(name());
        let foreign = folder.path().join("other");
        for path in [&stale, &own, &foreign] {
            fs::create_dir(path).unwrap();
        }
        sweep(folder.path(), |path| fs::remove_dir(path)).unwrap();
        assert_eq!([&stale, &own, &foreign].map(|path| path.exists()), [false, true, true]);
    }
}
