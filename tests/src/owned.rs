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
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

/// The process that a name belongs to, if it is one of ours.
fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
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
