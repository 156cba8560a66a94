//! The command line. Nothing is done here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Socket-level load balancer for Kubernetes Services
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
    Run(Run),
    /// Print the frontends and their backends, as the kernel's tables hold them
    Services(Services),
    /// Detach the programs and remove the tables that a stopped agent left in force
    Cleanup(Cleanup),
}

/// Where pins are.
pub const PINS: &str = "/sys/fs/bpf/socklb";

/// `socklb run`
#[derive(Debug, Args)]
pub struct Run {
    /// Folder of manifests (*.yaml, *.yml, *.json) to serve, watched for changes: Services,
    /// EndpointSlices, Endpoints, Pods, Nodes and Namespaces
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// Cgroup v2 directory whose processes are served [default: the root of the cgroup v2 mount]
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// Directory on a bpf filesystem that keeps programs and tables in force while the agent is
    /// stopped
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub pin: PathBuf,
    /// Pin nothing: balancing ends with the agent
    #[arg(long, conflicts_with = "pin")]
    pub no_pin: bool,
    /// Name of this node, for internalTrafficPolicy: Local and topology hints
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Most frontends (addresses and ports) at once. 16384 take 2.2 MB of kernel memory, and up to
    /// 6.4 MB when all are in use; more or fewer take that much more or less
    #[arg(long, value_name = "N", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_frontends: u32,
    /// Most backends at once, over all frontends, each 16 bytes of kernel memory: 65536 take 1 MB.
    /// Leave a quarter free: a change writes a service's backends anew before the old are reused
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..=134_217_728))]
    pub max_backends: u32,
}

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
    /// Read this map instead of the one found; may be given for lb_frontends4, lb_services,
    /// lb_backends4 and lb_names
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

/// `socklb cleanup`
#[derive(Debug, Args)]
pub struct Cleanup {
    /// The agent's pin directory
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub pin: PathBuf,
}

fn map_id(text: &str) -> Result<(String, u32), String> {
    let (name, id) = text.split_once('=').ok_or("expected NAME=ID, as in lb_services=12")?;
    let known = ["lb_frontends4", "lb_services", "lb_backends4", "lb_names"];
    if !known.contains(&name) {
        return Err(format!("{name} is none of {}", known.join(", ")));
    }
    let id = id.parse().map_err(|_| format!("{id} is no map id: bpftool map list shows them"))?;
    Ok((name.to_owned(), id))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn maps_are_named() {
        assert_eq!(map_id("lb_names=7"), Ok(("lb_names".into(), 7)));
        assert!(
            map_id("lb_names").is_err() && map_id("x=1").is_err() && map_id("lb_names=x").is_err()
        );
    }
}
