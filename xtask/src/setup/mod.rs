//! `cargo xtask setup`: installs what a build needs and the machine lacks.
//!
//! Programs go to `tools` in the target folder, the standard library's source into the compiler's
//! sysroot. Nothing that is there already is touched, and nothing else on the machine changes.

pub(crate) mod apt;
mod library;
mod linker;
mod sources;
pub(crate) mod test_tools;

use std::process::ExitCode;

use anyhow::Result;

use crate::{compiler::Compiler, toolchain, workspace::Workspace};

/// Install what is missing: bpf-linker, and the standard library's source.
///
/// bpf-linker goes to target/tools, the source into the compiler's sysroot (through sudo if it is
/// not writable). Does nothing when all is there. Takes about 2 minutes at first.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what is missing; exit code 1 if anything is
    #[arg(long)]
    check: bool,
    /// Also the programs that tests call, from the distribution's packages, as root: bpftool,
    /// clients and servers (none is started), and qemu for `cargo xtask vm`
    #[arg(long)]
    test_tools: bool,
}

/// Installs, or only checks, and says what there is.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if !args.check {
        ensure(workspace)?;
        if args.test_tools {
            test_tools::ensure()?;
        }
    }
    let mut missing = false;
    let mut say = |what: &str, place: Option<String>| {
        missing |= place.is_none();
        eprintln!("{what}: {}", place.as_deref().unwrap_or("missing"));
    };
    let linker = toolchain::bpf_linker(&workspace.tools());
    say(
        &format!("bpf-linker {}", toolchain::BPF_LINKER),
        linker.map(|path| path.display().to_string()),
    );
    let library =
        Some(toolchain::library(&toolchain::sysroot()?)).filter(|path| toolchain::is_library(path));
    say("standard library source", library.map(|path| path.display().to_string()));
    if args.test_tools {
        for tool in &test_tools::ALL {
            say(tool.program, tool.find().map(|path| path.display().to_string()));
        }
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Installs what a build lacks. Silent when nothing is missing.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let compiler = Compiler::find()?;
    compiler.check()?;
    linker::ensure(&workspace.tools())?;
    library::ensure(&compiler, workspace.target())
}
