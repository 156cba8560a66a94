//! Becomes another program, tied to the life of whoever started this one.
//!
//! A process can ask for a signal on its parent's death only for itself, and before it becomes
//! the other program. This must never fork: parent and process id stay what they are.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

/// Run a program that is killed when its parent dies.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The parent's process id.
    parent: u32,
    /// The program.
    program: OsString,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Returns only if the program cannot be started.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    lab::supervise::die_with_parent(arguments.parent)?;
    let error = Command::new(&arguments.program).args(arguments.arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", arguments.program.display()))
}
