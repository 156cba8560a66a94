//! `cargo xtask run`: the demo, or the agent alone.
//!
//! It must never do what the agent or the lab can do: it builds them and gives way.

use anyhow::{Error, Result};

use crate::{privilege::Privilege, setup, workspace::Workspace};

/// Build, then run a demo: three backend Pods and a client Pod in network namespaces of their own.
///
/// The demo makes a private cgroup, runs the agent on a folder of demo manifests, opens
/// connections to a ClusterIP, shows where they went, and removes everything that it made. With
/// arguments after `--`, runs the agent alone with those instead, on the real node. Needs root or
/// sudo.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// End after this long, such as 10s or 2m [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "agent")]
    duration: Option<String>,
    /// Print one JSON object on standard output at the end
    #[arg(long, conflicts_with = "agent")]
    json: bool,
    /// Let the agent watch an API server in place of a folder: the real one in the folder that
    /// KUBEBUILDER_ASSETS names (etcd, kube-apiserver), else the lab's own
    #[arg(long, conflicts_with = "agent")]
    kube: bool,
    /// The agent's arguments; `run` is put before them if they begin with an option
    #[arg(last = true, value_name = "AGENT ARGS")]
    agent: Vec<String>,
}

/// Becomes the demo or the agent. Returns only if that fails.
pub(crate) fn run(workspace: &Workspace, args: Args) -> Error {
    let start = || -> Result<Error> {
        let privilege = Privilege::get()?;
        setup::ensure(workspace)?;
        workspace.build_release()?;
        let agent = workspace.program("socklb");
        if args.agent.is_empty() {
            let lab = workspace.program("socklb-lab");
            let demo = demo_args(&agent.to_string_lossy(), args.duration, args.json, args.kube);
            return Ok(privilege.exec(&lab, &demo));
        }
        Ok(privilege.exec(&agent, &agent_args(args.agent)))
    };
    start().unwrap_or_else(|error| error)
}

fn demo_args(agent: &str, duration: Option<String>, json: bool, kube: bool) -> Vec<String> {
    let mut args = vec!["demo".to_owned(), "--agent".to_owned(), agent.to_owned()];
    if let Some(duration) = duration {
        args.extend(["--for".to_owned(), duration]);
    }
    if json {
        args.push("--json".to_owned());
    }
    if kube {
        args.push("--kube".to_owned());
    }
    args
}

fn agent_args(mut args: Vec<String>) -> Vec<String> {
    if args.first().is_some_and(|first| first.starts_with('-')) {
        args.insert(0, "run".to_owned());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_demo_gets_only_what_was_asked_for() {
        assert_eq!(demo_args("/t/socklb", None, false, false), ["demo", "--agent", "/t/socklb"]);
        assert_eq!(
            demo_args("/t/socklb", Some("10s".to_owned()), true, true),
            ["demo", "--agent", "/t/socklb", "--for", "10s", "--json", "--kube"]
        );
    }

    #[test]
    fn options_alone_mean_the_agents_run() {
        assert_eq!(
            agent_args(strings(&["--manifests", "m"])),
            strings(&["run", "--manifests", "m"])
        );
        assert_eq!(agent_args(strings(&["services", "-o", "json"])), ["services", "-o", "json"]);
    }
}
