//! `cargo xtask VERB`: sets up, builds, runs, tests and measures socklb.
//!
//! One module a verb. Results go to standard output, everything else to standard error. xtask must
//! never run cargo as root on its own account, and never install anything that is there already.
#![forbid(unsafe_code)]

mod apiserver;
mod bench;
mod compiler;
mod privilege;
mod run;
mod setup;
mod step;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Sets up, builds, runs, tests and measures socklb.
///
/// `run`, `bench`, `test` and `vm` first install what a build lacks, as `setup` does, and use sudo
/// for what needs root: cargo itself stays with the user. Exit codes: 0 done, 1 failed, 2 wrong
/// usage; `run`, `bench` and `test` end with the code of what they started.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Args),
    Run(run::Args),
    Bench(bench::Args),
    Test(test::Args),
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<ExitCode> {
    step::catch_interrupt()?;
    let workspace = Workspace::find()?;
    match verb {
        Verb::Setup(args) => setup::run(&workspace, &args),
        Verb::Run(args) => Err(run::run(&workspace, args)),
        Verb::Bench(args) => Err(bench::run(&workspace, args)),
        Verb::Test(args) => test::run(&workspace, &args),
        Verb::Vm(args) => vm::run(&workspace, &args),
    }
}
