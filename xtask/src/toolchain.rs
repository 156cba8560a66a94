//! What the BPF build needs beside cargo, and where it is found.
//!
//! Compiled into xtask, which installs it, and into lb-userspace's build script, which uses it. It
//! must never change anything, and needs nothing but the standard library and anyhow.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The last bpf-linker that reads the bitcode of the pinned rustc (LLVM 22).
pub(crate) const BPF_LINKER: &str = "0.10.3";

/// The channel that rust-toolchain.toml pins.
pub(crate) fn channel() -> &'static str {
    include_str!("../../rust-toolchain.toml")
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .expect("rust-toolchain.toml names a channel")
}

/// The compiler that aya-build takes too: the pinned one of rustup, or else the one on PATH.
pub(crate) fn rustc() -> Command {
    match find("rustup") {
        Some(rustup) => {
            let mut command = Command::new(rustup);
            command.args(["run", channel(), "rustc"]);
            command
        }
        None => Command::new("rustc"),
    }
}

/// The first executable of that name on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// bpf-linker of the one version that fits, from `tools` or else from PATH.
pub(crate) fn bpf_linker(tools: &Path) -> Option<PathBuf> {
    [Some(tools.join("bin/bpf-linker")), find("bpf-linker")].into_iter().flatten().find(|path| {
        let version = Command::new(path).arg("--version").output();
        version.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1) == Some(BPF_LINKER)
        })
    })
}

/// The compiler's own folder: its libraries lie in `lib`.
///
/// # Errors
/// When the compiler cannot be run.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let mut command = rustc();
    let output = command
        .args(["--print", "sysroot"])
        .output()
        .with_context(|| format!("cannot run {command:?}: install Rust {}", channel()))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let sysroot = String::from_utf8(output.stdout).context("the sysroot's path is not UTF-8")?;
    Ok(PathBuf::from(sysroot.trim()))
}

/// Where the source of the standard library belongs, which `-Z build-std` compiles.
pub(crate) fn library(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}

/// Whether the standard library's source is there.
pub(crate) fn is_library(path: &Path) -> bool {
    path.join("core/src/lib.rs").is_file()
}
