//! What a machine must have for an experiment, and the note about those that it cannot run.
//!
//! Nothing may be skipped in silence: whoever runs the tests reads the file named in
//! `SOCKLB_SKIPS`, and treats a skip as a failure where none is allowed.

use std::{env, fs::OpenOptions, io::Write, path::Path};

use anyhow::{Context, Result};

/// Names a file that receives one line, `name<TAB>reason`, for each test that could not run.
pub const SKIPS: &str = "SOCKLB_SKIPS";

/// Why no experiment can run on this machine, or `None` if one can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("the kernel has no BTF (/sys/kernel/btf/vmlinux)".into());
    }
    crate::cgroup::own().err().map(|error| format!("{error:#}"))
}

/// Notes that the test `name` did not run.
///
/// # Errors
/// When the file that [`SKIPS`] names cannot be written.
pub fn note_skip(name: &str, reason: &str) -> Result<()> {
    eprintln!("skipped: {reason}");
    let Some(path) = env::var_os(SKIPS) else { return Ok(()) };
    // One write of one line: tests append to the file at the same time.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{name}\t{reason}\n").as_bytes()))
        .with_context(|| format!("cannot note a skip in {} ({SKIPS})", path.display()))
}
