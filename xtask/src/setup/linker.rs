//! bpf-linker, which turns the bitcode of lb-ebpf into a BPF object.
//!
//! It must never replace a bpf-linker that the developer installed: other projects need other
//! versions.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    step,
    toolchain::{self, BPF_LINKER},
    workspace::cargo,
};

/// Compiles on a slow machine too.
const LIMIT: Duration = Duration::from_secs(3600);

/// Installs bpf-linker under `tools` unless there is one that fits.
pub(super) fn ensure(tools: &Path) -> Result<()> {
    if toolchain::bpf_linker(tools).is_some() {
        return Ok(());
    }
    // Kept until the installation succeeds, so that an interrupted one goes on.
    let build = tools.join("build");
    let mut command = cargo();
    command
        .args(["install", "bpf-linker", "--locked", "--force", "--version", BPF_LINKER, "--root"])
        .arg(tools)
        .arg("--target-dir")
        .arg(&build);
    step::run(&format!("Installing bpf-linker {BPF_LINKER}"), command, LIMIT).with_context(
        || {
            format!(
                "bpf-linker could not be installed. By hand: cargo install bpf-linker --locked \
             --version {BPF_LINKER} --root {}",
                tools.display()
            )
        },
    )?;
    ensure!(
        toolchain::bpf_linker(tools).is_some(),
        "cargo installed bpf-linker {BPF_LINKER} in {}, but it does not run there",
        tools.display()
    );
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}
