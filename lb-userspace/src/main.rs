//! `socklb`: parses the command line and hands over.
#![forbid(unsafe_code)]

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use lb_userspace::{
    cli::{Cli, Command},
    commands,
};
use tracing_subscriber::EnvFilter;

/// An agent allocates and frees a slice's worth of objects at each event; glibc's allocator then
/// spends more time searching its free lists than the agent does publishing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match EnvFilter::try_new(&cli.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("socklb: --log {}: {error}", cli.log);
            return ExitCode::from(2);
        }
    };
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(std::io::stderr).init();
    let result = match cli.command {
        Command::Run(options) => commands::run::run(options),
        Command::Services(options) => commands::services::services(&options),
        Command::Cleanup(options) => commands::cleanup::cleanup(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socklb: {error:#}");
            ExitCode::FAILURE
        }
    }
}
