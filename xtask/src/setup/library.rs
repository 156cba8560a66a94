//! The source of the standard library, which `-Z build-std` compiles for the BPF target.
//!
//! From rustup, or else from Debian's package of the same version. It must never leave a
//! half-copied library: the copy is made beside its place and renamed.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{Access, access};

use super::apt;
use crate::{compiler::Compiler, privilege::Privilege, step, toolchain};

/// rustup tries again and again where its server does not answer.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);
/// Where Debian has the pinned Rust.
const SUITES: &[&str] = &["trixie-backports"];
const COPY_LIMIT: Duration = Duration::from_secs(300);

/// Brings the source into the compiler's sysroot, unless it is there.
pub(super) fn ensure(compiler: &Compiler, scratch: &Path) -> Result<()> {
    let library = toolchain::library(&toolchain::sysroot()?);
    if toolchain::is_library(&library) {
        return Ok(());
    }
    install(compiler, &library, scratch).with_context(|| {
        format!(
            "the standard library's source could not be installed. By hand: rustup component add \
             rust-src --toolchain {}; or put the folder library/ of the source of Rust {} at {}",
            toolchain::channel(),
            compiler.release,
            library.display()
        )
    })
}

fn install(compiler: &Compiler, library: &Path, scratch: &Path) -> Result<()> {
    if toolchain::find("rustup").is_some() {
        let mut command = Command::new("rustup");
        command.args(["component", "add", "rust-src", "--toolchain", toolchain::channel()]);
        let label = "Installing the standard library's source by rustup";
        let added = step::run(label, command, RUSTUP_LIMIT);
        // rustup is content with a component that was installed and then removed by hand.
        if toolchain::is_library(library) {
            return Ok(());
        }
        step::check_interrupt()?;
        if !apt::is_there() {
            return added.and_then(|()| bail!("rustup says that rust-src is installed; it is not"));
        }
        eprintln!("rustup did not bring it; trying Debian's package");
    }
    ensure!(apt::is_there(), "there is neither rustup nor apt");

    let scratch = tempfile::tempdir_in(scratch)
        .with_context(|| format!("cannot write to {}", scratch.display()))?;
    let packages = apt::from_first(SUITES, scratch.path(), |suite| {
        let version = suite.version("rust-src", &compiler.release)?;
        suite.download(&[format!("rust-src={version}")])
    })?;
    let root = scratch.path().join("root");
    apt::unpack(&apt::packages(&packages)?, &root)?;
    let source = root.join(format!("usr/src/rustc-{}/library", compiler.release));
    ensure!(toolchain::is_library(&source), "Debian's rust-src has no {}", source.display());
    copy(&source, library)
}

fn copy(source: &Path, library: &Path) -> Result<()> {
    let folder = library.parent().context("the library lies in a folder")?;
    let existing = folder.ancestors().find(|folder| folder.exists()).context("there is a root")?;
    let privilege = if access(existing, Access::WRITE_OK).is_ok() {
        Privilege::Direct
    } else {
        let privilege = Privilege::get()?;
        privilege.ask()?;
        privilege
    };
    // Positional parameters, so that no path is read as shell.
    let script = r#"set -e
        mkdir -p "$2"
        rm -rf "$2/library.partial"
        cp -r "$1" "$2/library.partial"
        mv -T "$2/library.partial" "$2/library""#;
    let mut command = privilege.command("sh");
    command.args(["-c", script, "sh"]).arg(source).arg(folder);
    step::run("Copying the source into the sysroot", command, COPY_LIMIT)
}
