//! `socklb`: parses the command line and hands over.
//!
//! Standard output is for what the verbs print: logs and errors must never be written there.
#![forbid(unsafe_code)]

use std::{io::IsTerminal as _, process::ExitCode};

use tracing::Level;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    prelude::*,
};

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
    log_to_stderr(cli.log.into());
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

/// Logs what socklb itself says at this level. What its libraries say is for their developers, below
/// warnings: aya has thousands of lines on each load. The watch of the API server tells itself what
/// went wrong, in fewer words than kube.
fn log_to_stderr(level: Level) {
    let own = [env!("CARGO_CRATE_NAME"), "lb_userspace"].map(|target| (target, level));
    let kube = ["kube_client", "kube_runtime"].map(|target| (target, LevelFilter::OFF));
    let targets =
        Targets::new().with_targets(own).with_targets(kube).with_default(level.min(Level::WARN));
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .finish()
        .with(targets)
        .init();
}
