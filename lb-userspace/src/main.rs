//! `socklb`: parses the command line and hands over.
#![forbid(unsafe_code)]

use std::{io::IsTerminal as _, process::ExitCode};

use lb_userspace::{
    cli::{Cli, Command},
    commands,
};

/// An agent allocates and frees a slice's worth of objects at each event; glibc's allocator then
/// spends more time searching its free lists than the agent does publishing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::from(cli.log))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let result = match cli.command {
        Command::Run(options) => commands::run::run(*options),
        Command::Services(options) => commands::services::services(&options),
        Command::Check(options) => commands::check::check(&options),
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
