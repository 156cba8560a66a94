//! Becomes another program, tied to the life of whoever started this one.
//!
//! A process can ask for a signal on its parent's death only for itself, and before it becomes
//! the other program. So it is with the namespaces that the program is to see. This must never
//! fork: parent and process id stay what they are.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use lab::{mounts, netns, supervise};

/// Run a program that is killed when its parent dies.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The parent's process id.
    parent: u32,
    /// A file that stands for the program's network namespace.
    #[arg(long)]
    net: Option<PathBuf>,
    /// A path that the program sees in another's place; may be repeated.
    #[arg(long, num_args = 2, value_names = ["PATH", "OVER"])]
    mount: Vec<PathBuf>,
    /// The program.
    program: OsString,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Returns only if the program cannot be started.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    supervise::die_with_parent(arguments.parent)?;
    if let Some(path) = &arguments.net {
        netns::enter(path)?;
    }
    if !arguments.mount.is_empty() {
        let (pairs, _) = arguments.mount.as_chunks::<2>();
        mounts::cover(pairs.iter().map(|[path, over]| (path.as_path(), over.as_path())))?;
    }
    let error = Command::new(&arguments.program).args(arguments.arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", arguments.program.display()))
}
