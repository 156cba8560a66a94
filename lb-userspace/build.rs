//! Builds the BPF programs and leaves the object as `OUT_DIR/socklb-bpf`.
//!
//! It must never install anything: it finds what `cargo xtask setup` installed, or says so.
#![allow(unsafe_code)]

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

fn main() -> Result<()> {
    // aya-build adds ../lb-ebpf. The rest of what the object is made of:
    for path in ["../lb-common", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let Some(linker) = toolchain::bpf_linker(&tools(&out_dir)) else {
        bail!("bpf-linker {} is missing: run `cargo xtask setup`", toolchain::BPF_LINKER);
    };
    let library = toolchain::library()?;
    if !toolchain::is_library(&library) {
        bail!(
            "the standard library's source is missing at {}: run `cargo xtask setup`",
            library.display()
        );
    }

    let mut path = vec![linker.parent().context("a program lies in a folder")?.to_owned()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    // SAFETY: no other thread runs in this build script yet. The variables reach the BPF build,
    // which aya-build starts from this process, and nothing else.
    unsafe {
        env::set_var("PATH", env::join_paths(path)?);
        // Stable rustc then takes `-Z build-std` and the features that lb-ebpf names.
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // aya-build turns each line on standard error into a warning.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    let programs = Package { name: "lb-ebpf", root_dir: "../lb-ebpf", ..Package::default() };
    aya_build::build_ebpf([programs], Toolchain::Custom(toolchain::channel()))
}

/// Where `cargo xtask setup` puts programs: `tools` in the target folder, of which OUT_DIR is
/// `[TRIPLE/]PROFILE/build/PACKAGE/out`.
fn tools(out_dir: &Path) -> PathBuf {
    let tools = |folder: &Path| folder.join("tools");
    let mut candidates = out_dir.ancestors().skip(4).take(2).map(tools);
    candidates.find(|folder| folder.is_dir()).unwrap_or_else(|| tools(out_dir))
}
