//! The checkout that xtask belongs to, and cargo in it.
//!
//! It must never assume that the target folder is `target`: `CARGO_TARGET_DIR` may name another,
//! which several checkouts share.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::step;

/// The checkout.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version=1", "--no-deps"])
            .output()
            .context("cannot run cargo: install Rust (rustup, or your distribution's package)")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
        let folder = |name: &str| {
            let path = metadata[name].as_str().map(PathBuf::from);
            path.with_context(|| format!("cargo metadata names no {name}"))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// The checkout's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The target folder.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The root of programs that the build needs and the machine lacks.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The path of an optimised program, which [`Workspace::build_release`] makes.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Builds the optimised agent and lab. Cargo reports on standard error.
    pub(crate) fn build_release(&self) -> Result<()> {
        let status = cargo()
            .args(["build", "--release", "--package=lb-userspace", "--package=lb-tests"])
            .status()
            .context("cannot run cargo")?;
        step::check_interrupt()?;
        ensure!(status.success(), "the build failed; cargo's messages above say why");
        Ok(())
    }
}

/// The cargo that runs xtask, in this checkout. What it told xtask of xtask is kept from it: build
/// scripts that heed these variables would run again, and half the dependencies with them, whenever
/// `cargo xtask` and cargo itself take turns.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    let of_xtask =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(of_xtask) {
            command.env_remove(name);
        }
    }
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}
