//! A folder for one experiment's files: manifests, and the socket on which the agent reports.
//!
//! It lies in `/run`, where only root writes, so that sweeping by name is safe. It must never hold
//! anything that is wanted after the experiment.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::owned;

const HOME: &str = "/run";

/// Removes its folder when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn create(name: &str) -> Result<Self> {
        let home = Path::new(HOME);
        owned::sweep(home, |path| fs::remove_dir_all(path)).context("cannot list /run")?;
        let path = home.join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} is left behind: {error}", self.path.display());
        }
    }
}
