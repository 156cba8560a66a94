//! The command line. Nothing is done here.

mod cidr;
mod run;
mod server;

use std::path::PathBuf;

use crate::dataplane::inspect::TABLES;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};

pub use self::run::{CloseStale, EndpointsApi, PeerName, Run, Scope};

/// Socket-level load balancer for Kubernetes Services
///
/// Exit codes: 0 done, or ended by a signal as it should; 1 failed, for the reason on standard error;
/// 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "socklb", version, max_term_width = 100)]
pub struct Cli {
    /// Least severe messages that are logged to standard error
    #[arg(long, global = true, env = "SOCKLB_LOG", value_enum, default_value_t = Level::Info)]
    pub log: Level,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process. Ends it with a message if something is wrong, or if help
    /// was asked for.
    pub fn read() -> Self {
        Self::try_read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn try_read<T: Into<std::ffi::OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let mut cli = Self::try_parse_from(arguments)?;
        if let Command::Run(run) = &mut cli.command {
            // The variable may be there and say nothing.
            run.node_name.take_if(|name| name.is_empty());
            run.validate().map_err(|reason| {
                // Built, so that the usage that is shown is `socklb run`'s.
                let mut command = Self::command();
                command.build();
                let run = command.find_subcommand_mut("run").expect("it was just read");
                run.error(ErrorKind::ValueValidation, reason)
            })?;
        }
        Ok(cli)
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What went wrong
    Error,
    /// And what was left out, and why
    Warn,
    /// And what an operator wants to know
    Info,
    /// And each publication
    Debug,
    /// And each event
    Trace,
}

impl From<Level> for tracing::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: keep the tables up to date and the programs attached
    Run(Box<Run>),
    /// Print the frontends and their backends, as the kernel's tables hold them
    Services(Services),
    /// Say what this kernel offers, what each program costs to load, and what will not work. Loads
    /// the programs and attaches nothing. Fails if no connection could be balanced
    Check(Check),
    /// Detach the programs and remove the tables that a stopped agent left in force
    Cleanup(Cleanup),
}

/// Where pins are.
pub const PINS: &str = "/sys/fs/bpf/socklb";

/// `socklb services`
#[derive(Debug, Args)]
pub struct Services {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// The agent's pin directory [default: /sys/fs/bpf/socklb if it exists, else the maps of any
    /// running agent, by their names]
    #[arg(long, value_name = "DIR")]
    pub pin: Option<PathBuf>,
    /// Read this map instead of the one found. May be given for each of lb_frontends4,
    /// lb_frontends6, lb_services, lb_backends4, lb_backends6, lb_names and lb_config
    #[arg(long, value_name = "NAME=ID", value_parser = map_id)]
    pub map: Vec<(String, u32)>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// An array of objects
    Json,
}

/// `socklb check`
#[derive(Debug, Args)]
pub struct Check {
    /// Print JSON: an object with kernel, programs and features
    #[arg(long)]
    pub json: bool,
    /// The pin directory that `socklb run` is to use: whether it can is part of the answer
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub pin: PathBuf,
}

/// `socklb cleanup`
#[derive(Debug, Args)]
pub struct Cleanup {
    /// The agent's pin directory
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub pin: PathBuf,
}

fn map_id(text: &str) -> Result<(String, u32), String> {
    let (name, id) = text.split_once('=').ok_or("expected NAME=ID, as in lb_services=12")?;
    if !TABLES.contains(&name) {
        return Err(format!("{name} is none of {}", TABLES.join(", ")));
    }
    let id = id.parse().map_err(|_| format!("{id} is no map id: bpftool map list shows them"))?;
    Ok((name.to_owned(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn maps_are_named() {
        for name in TABLES {
            assert_eq!(map_id(&format!("{name}=7")), Ok((name.into(), 7)));
        }
        assert!(
            map_id("lb_names").is_err() && map_id("x=1").is_err() && map_id("lb_names=x").is_err()
        );
    }
}
