//! `cargo xtask bench`: measures on the real kernel.
//!
//! It must never measure itself: the lab does, in a process of its own.

use anyhow::{Error, Result};
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::{privilege::Privilege, setup, workspace::Workspace};

/// The lab's measurements.
const NAMES: [(&str, &str); 4] = [
    ("churn", "Connects and datagrams while backends change as fast as the agent can publish"),
    ("connect", "The latency of connect(), direct and through 10 to 100,000 frontends"),
    (
        "kube",
        "The agent against an API server with 10,000 Services of 50 endpoints, then one change among them",
    ),
    ("sync", "Publishing 10,000 Services with 100 endpoints each, then one change among them"),
];

/// Build, then measure on the real kernel, in network namespaces and a cgroup of its own.
///
/// Needs root or sudo.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_parser = PossibleValuesParser::new(NAMES.map(|(name, help)| {
        PossibleValue::new(name).help(help)
    })))]
    name: String,
    /// The measurement's own arguments, such as --json; `cargo xtask bench NAME -- --help` lists them
    /// with units and defaults
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Becomes the measurement. Returns only if that fails.
pub(crate) fn run(workspace: &Workspace, args: Args) -> Error {
    let start = || -> Result<Error> {
        let privilege = Privilege::get()?;
        setup::ensure(workspace)?;
        workspace.build_release()?;
        Ok(privilege.exec(&workspace.program("socklb-lab"), &lab_args(args)))
    };
    start().unwrap_or_else(|error| error)
}

fn lab_args(args: Args) -> Vec<String> {
    ["bench".to_owned(), args.name].into_iter().chain(args.args).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn everything_behind_the_name_is_the_labs() {
        for words in [
            &["bench", "churn", "--seconds", "5", "--help"][..],
            &["bench", "churn", "--", "--help"],
        ] {
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
            let expected: Vec<_> = words.iter().filter(|&&word| word != "--").collect();
            assert_eq!(lab_args(cli.args).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_unknown_name_is_wrong_usage() {
        let Err(error) = Cli::try_parse_from(["bench", "speed"]) else { panic!("accepted") };
        assert_eq!(error.exit_code(), 2);
        let help = Cli::command().render_help().to_string();
        assert!(NAMES.iter().all(|(name, _)| help.contains(name)), "{help}");
    }
}
