//! Golden scripts: what happens to objects, and the tables that this must lead to, as text files.
//!
//! A script runs on any [`Tables`]; what it expects is the same for all. docs/testing.md explains
//! the format. Nothing here may know what a Service means: scripts say what is right.

mod diff;
mod dump;
mod memory;
mod plane;
mod run;
mod script;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

pub use self::{
    memory::Plain,
    plane::Kernel,
    run::{Tables, run},
    script::{Mistake, Script},
};

/// Whether the expected dumps are to be written anew.
pub fn updates() -> bool {
    env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// The scripts in a folder, by name: all, or those whose name contains the variable `SCRIPT`.
///
/// # Errors
/// When there is none, one cannot be read, or is mistaken.
pub fn scripts(folder: &Path) -> Result<Vec<Script>> {
    let wanted = env::var("SCRIPT").unwrap_or_default();
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>();
    let mut files: Vec<PathBuf> =
        read().with_context(|| format!("cannot list {}", folder.display()))?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".txt") && name.contains(&wanted)
    });
    files.sort();
    ensure!(!files.is_empty(), "no script *{wanted}*.txt in {}", folder.display());
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Script::parse(file, &text)?)
    };
    files.iter().map(read).collect()
}
