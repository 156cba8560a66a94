//! What the compiler says about itself.
//!
//! Must never install or choose one: whoever has another is told what to install.

use anyhow::{Context as _, Result, ensure};

use crate::toolchain;

/// The compiler of this checkout.
pub(crate) struct Compiler {
    /// Such as `1.95.0`.
    pub(crate) release: String,
    /// The target triple of this machine.
    pub(crate) host: String,
}

impl Compiler {
    /// Asks it.
    pub(crate) fn find() -> Result<Self> {
        let output = toolchain::rustc().arg("-vV").output().context("cannot run rustc")?;
        ensure!(
            output.status.success(),
            "rustc -vV failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Self::parse(&String::from_utf8_lossy(&output.stdout)).context("rustc -vV names no release")
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        Some(Self { release: value("release: ")?, host: value("host: ")? })
    }

    /// Fails where bpf-linker could not read the compiler's bitcode.
    pub(crate) fn check(&self) -> Result<()> {
        let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
        ensure!(
            minor(&self.release) == minor(toolchain::channel()),
            "this is rustc {}, and bpf-linker {} fits {} only: install that, by rustup or from \
             your distribution",
            self.release,
            toolchain::BPF_LINKER,
            toolchain::channel()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(release: &str) -> Compiler {
        let text = format!("rustc {release}\nbinary: rustc\nhost: x-y-z\nrelease: {release}\n");
        Compiler::parse(&text).unwrap()
    }

    #[test]
    fn a_patch_release_fits_and_another_minor_release_does_not() {
        assert_eq!(compiler("1.95.0").host, "x-y-z");
        compiler("1.95.1").check().unwrap();
        let error = compiler("1.96.0").check().unwrap_err().to_string();
        assert!(error.contains("this is rustc 1.96.0"), "{error}");
    }
}
