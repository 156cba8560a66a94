//! The main job, to look at: an agent, three backend Pods, and a client that connects to the
//! Service's address as fast as it can.
//!
//! What one sees must be measured where users are: a connection counts for the backend that said
//! its name, not for the one that some address claims.

mod objects;
mod report;
mod screen;
mod traffic;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lab::{
    Lab,
    agent::Agent,
    apiserver::ApiServer,
    cluster::{Cluster, NODE},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use self::{
    objects::{PODS, PORT},
    report::Summary,
    screen::Screen,
    traffic::Traffic,
};
use crate::confined;

/// Time between two looks at the clock, the agent and the signals; the live table's frame rate.
const FRAME: Duration = Duration::from_millis(200);
/// What a bounded demo may take beyond its time, to start and to clean up.
const SLACK: Duration = Duration::from_secs(60);

/// Run the agent between a client and three backend Pods, and show where connections go.
///
/// Everything happens in a cgroup and network namespaces made for the purpose, without any route
/// out, and is removed at the end. Returns 1 if a connection failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The agent's program, `socklb`.
    #[arg(long, value_name = "PATH")]
    agent: PathBuf,
    /// Serve the objects by an API server in place of a folder: the one in the folder that
    /// KUBEBUILDER_ASSETS names (etcd, kube-apiserver), else the lab's own.
    #[arg(long)]
    kube: bool,
    /// Stop after this time, such as 10s or 2m; without it, at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Print one summary object on standard output at the end.
    #[arg(long)]
    json: bool,
}

/// Runs the demo in a supervised child, and removes all that it made.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let agent = fs::canonicalize(&arguments.agent)
        .with_context(|| format!("--agent {}", arguments.agent.display()))?;
    ensure!(agent.is_file(), "--agent {}: not a program", agent.display());
    let limit = arguments.time.map(|time| time + SLACK);
    confined::run(limit, |lab| demonstrate(lab, &agent, arguments))
}

fn demonstrate(lab: &Lab, agent: &Path, arguments: &Arguments) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&stop)).context("cannot catch signals")?;
    }
    let pods = PODS.map(|index| lab.pod(index)).into_iter().collect::<Result<Vec<_>>>()?;
    let _servers = (0..)
        .zip(&pods)
        .map(|(identity, pod)| pod.serve([(PORT, identity)]))
        .collect::<Result<Vec<_>>>()?;
    let guard = env::current_exe()?;
    let (source, hint) = if arguments.kube {
        let cluster = Cluster::new(lab, &guard, ApiServer::of_the_environment(lab, &guard)?)?;
        objects::store(&cluster)?;
        let hint = format!(
            "As root, `nsenter --net=/proc/{}/ns/net kubectl --kubeconfig {} edit -n demo \
             endpointslice web-1` lets the agent follow",
            process::id(),
            cluster.kubeconfig().display()
        );
        (Source::Cluster(cluster), hint)
    } else {
        let folder = objects::write(lab.scratch())?;
        let hint = format!("Edit {} to see the agent follow", folder.display());
        (Source::Manifests(folder), hint)
    };
    let mut agent = source.start_agent(lab, &guard, agent)?;

    let mut screen = Screen::new(&hint, arguments.time);
    let traffic = Traffic::start()?;
    let start = Instant::now();
    let over = || arguments.time.is_some_and(|time| start.elapsed() >= time);
    let mut ended = None;
    while !stop.load(Ordering::Relaxed) && !over() && ended.is_none() {
        thread::sleep(FRAME);
        ended = agent.ended()?;
        screen.log(&agent.new_lines());
        screen.draw(start.elapsed(), &Summary::new(traffic.totals(), &pods));
    }
    // The agent stays until the last connection is made, so that none fails for its absence.
    let summary = Summary::new(traffic.stop(), &pods);
    screen.finish();
    let (status, rest) = agent.stop()?;
    screen.log(&rest);
    eprintln!("{}", report::table(&summary));
    if arguments.json {
        println!("{}", report::json(&summary)?);
    }
    if ended.is_some() {
        bail!("the agent ended by itself, {status}");
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the agent reads its objects.
enum Source<'lab> {
    Manifests(PathBuf),
    Cluster(Cluster<'lab>),
}

impl Source<'_> {
    fn start_agent(&self, lab: &Lab, guard: &Path, agent: &Path) -> Result<Agent> {
        let mut arguments: Vec<OsString> = vec!["run".into(), "--no-pin".into(), "--cgroup".into()];
        arguments.push(lab.cgroup().into());
        match self {
            Self::Manifests(folder) => arguments.extend(["--manifests".into(), folder.into()]),
            Self::Cluster(cluster) => arguments.extend([
                "--kubeconfig".into(),
                cluster.kubeconfig().into(),
                "--node-name".into(),
                NODE.into(),
            ]),
        }
        Agent::start(lab, guard, agent, &arguments)
    }
}
