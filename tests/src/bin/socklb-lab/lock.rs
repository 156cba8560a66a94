//! At most one demo or benchmark at a time: two would measure each other.
//!
//! The lock is the kernel's (flock), so it goes with its holder however that one ends. The file
//! must never be taken for the lock.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

const PATH: &str = "/run/socklb-lab.lock";
/// Attempts to lock a file that its last holder is about to remove.
const ATTEMPTS: u32 = 10;

/// Held until dropped.
pub(crate) struct Lock {
    /// Keeps the lock.
    _file: File,
}

impl Lock {
    /// # Errors
    /// When another process holds it; the error names that process.
    pub(crate) fn acquire() -> Result<Self> {
        let path = Path::new(PATH);
        for _ in 0..ATTEMPTS {
            let mut file = OpenOptions::new()
                .create(true)
                .read(true)
                .write(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("cannot open {PATH}; run as root"))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder)?;
                    bail!(
                        "a demo or benchmark is running already, as process {}; wait for it or \
                         end it",
                        holder.trim()
                    );
                }
                Err(error) => return Err(error).context(format!("cannot lock {PATH}")),
            }
            // The holder before us removes the file; then we locked what no one else will find.
            let found = fs::metadata(path).map(|found| found.ino()).ok();
            if found == Some(file.metadata()?.ino()) {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                return Ok(Self { _file: file });
            }
        }
        bail!("cannot lock {PATH}: others make and remove it all the time")
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock goes with the file, so that no one removes a successor's.
        if let Err(error) = fs::remove_file(PATH) {
            eprintln!("{PATH} is left behind: {error}");
        }
    }
}
