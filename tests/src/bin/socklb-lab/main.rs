//! `socklb-lab`: shows socklb at work on this machine, without a cluster and without touching the
//! machine's own network.
//!
//! Standard output carries JSON alone; everything else goes to standard error.
#![forbid(unsafe_code)]

mod bench;
mod confined;
mod demo;
mod guard;
mod lock;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shows socklb at work in private cgroups and network namespaces.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    #[command(subcommand)]
    Bench(bench::Bench),
    #[command(hide = true)]
    Guard(guard::Arguments),
}

/// The agent's: benches measure its code in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(bench) => bench.run(),
        Command::Guard(arguments) => guard::run(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
