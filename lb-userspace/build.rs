//! Builds the BPF programs and leaves the object as `OUT_DIR/socklb-bpf`.
//!
//! It must never install anything: it finds what `cargo xtask setup` installed, or says so.
#![allow(unsafe_code)]

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::{
    env,
    ffi::OsString,
    iter,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that RUST_BACKTRACE would put around it.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    // aya-build adds ../lb-ebpf. The rest of what the object is made of:
    for path in ["../lb-common", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let Some(linker) = toolchain::bpf_linker(&tools(&out_dir)) else {
        bail!("bpf-linker {} is missing: run `cargo xtask setup`", toolchain::BPF_LINKER);
    };
    let sysroot = toolchain::sysroot()?;
    let library = toolchain::library(&sysroot);
    if !toolchain::is_library(&library) {
        bail!(
            "the standard library's source is missing at {}: run `cargo xtask setup`",
            library.display()
        );
    }

    let linker = linker.parent().context("a program lies in a folder")?;
    let path = prepend(linker, "PATH")?;
    // bpf-linker takes the first libLLVM that it finds there. It has to be the compiler's.
    let libraries = prepend(&sysroot.join("lib"), "LD_LIBRARY_PATH")?;
    // SAFETY: no other thread runs in this build script yet. The variables reach the BPF build,
    // which aya-build starts from this process, and nothing else.
    unsafe {
        env::set_var("PATH", path);
        env::set_var("LD_LIBRARY_PATH", libraries);
        // Stable rustc then takes `-Z build-std` and the features that lb-ebpf names.
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // aya-build turns each line on standard error into a warning.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    let programs = Package { name: "lb-ebpf", root_dir: "../lb-ebpf", ..Package::default() };
    aya_build::build_ebpf([programs], Toolchain::Custom(toolchain::channel()))
}

/// The folders that `variable` lists, after `first`.
fn prepend(first: &Path, variable: &str) -> Result<OsString> {
    let rest = env::var_os(variable).unwrap_or_default();
    // An empty name would mean the working directory.
    let rest = env::split_paths(&rest).filter(|folder| !folder.as_os_str().is_empty());
    let folders = iter::once(first.to_owned()).chain(rest);
    env::join_paths(folders).with_context(|| format!("cannot extend {variable}"))
}

/// Where `cargo xtask setup` puts programs: `tools` in the target folder, of which OUT_DIR is
/// `[TRIPLE/]PROFILE/build/PACKAGE/out`.
fn tools(out_dir: &Path) -> PathBuf {
    let tools = |folder: &Path| folder.join("tools");
    let mut candidates = out_dir.ancestors().skip(4).take(2).map(tools);
    candidates.find(|folder| folder.is_dir()).unwrap_or_else(|| tools(out_dir))
}
