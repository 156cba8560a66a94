//! `bench connect`: what socklb adds to `connect()`, and what its program takes, whatever the number
//! of frontends.
//!
//! A round makes every case's connects one case after the other, in an order shuffled anew, so that
//! what else the machine does falls on all of them alike. A case is compared with the direct
//! connects of its own round. The kernel's statistics cost clock reads: they are off while connects
//! are timed, and the program is measured in a second part of each round.

mod calls;
mod case;
mod catalogue;
mod report;
mod sender;
mod site;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};
use fastrand::Rng;
use lab::Lab;

use self::case::Case;
use super::progress;
use crate::confined;

/// The Pod's port, and what its listener tells.
const PORT: u16 = 8080;
const IDENTITY: u16 = 1;
/// Every run shuffles in the same way.
const SEED: u64 = 1;
/// Of the connects that are timed, the part that is made again with statistics on.
const WITH_STATISTICS: u32 = 2;

/// The latency of connect(), direct and through 10 to 100,000 frontends.
///
/// "direct" goes straight to the Pod, without a program on the cgroup; "connect4-tcp" to frontends
/// picked at random among all, so that the more there are, the fewer entries are in a CPU cache;
/// "connect4-same" to one frontend among all, again and again; "connect4-miss" straight to the Pod,
/// with the program in force.
///
/// Those make a connection each, whose handshake takes the CPU's caches. The others have the
/// program run again and again, with nothing in between: "connect4-loop" by TCP to one frontend
/// whose backend no route leads to, "connect4-loop-miss" by TCP to that backend, "connect4-floor" by
/// UDP, which the program lets pass after its first check. The floor is nearly all the statistics'
/// own cost: what a loop takes beyond it is the program's work. Of these, program_ns alone is told;
/// the rest is null.
///
/// p50_ns and p99_ns are connect()'s alone, over all rounds. ratio_to_direct compares medians
/// within a round: the median over the rounds. program_ns is one run of the program by the kernel's
/// statistics, the cost of their own clock included: the mean of a round, the median over the
/// rounds; 0 without a program.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Timed connects per case and round; half as many follow for the program's statistics, or five
    /// times as many that send nothing
    #[arg(long, value_name = "N", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    connects: u32,
    /// Only cases whose name contains this, and those that they are compared with
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    confined::run(Some(Duration::from_secs(3600)), |lab| {
        let rows = report::rows(&measure(lab, arguments)?);
        if arguments.json {
            println!("{}", report::json(&rows)?);
        } else {
            eprintln!("{}", report::table(&rows));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Vec<Case>> {
    let pod = lab.pod(1)?;
    let _server = pod.serve([(PORT, IDENTITY)])?;
    let mut cases = catalogue::all(lab, &pod)?;
    if let Some(text) = &arguments.only {
        keep(&mut cases, text)?;
    }
    let mut order: Vec<usize> = (0..cases.len()).collect();
    let mut rng = Rng::with_seed(SEED);
    let bar = progress(arguments.rounds.into(), "rounds");
    for _ in 0..arguments.rounds {
        rng.shuffle(&mut order);
        for &index in &order {
            cases[index].time(arguments.connects, &mut rng)?;
        }
        // In force until dropped, and with this process at the latest.
        let statistics =
            enable_stats(Stats::RunTime).context("cannot switch on the kernel's statistics")?;
        for &index in &order {
            cases[index].count(arguments.connects / WITH_STATISTICS, &mut rng)?;
        }
        drop(statistics);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if cases.iter().any(|case| case.disturbed) {
        eprintln!(
            "The kernel's BPF statistics were on while connects were timed, switched on by someone \
             else (kernel.bpf_stats_enabled, or bpftool prog profile): connects through a program \
             were slower for it."
        );
    }
    Ok(cases)
}

/// Keeps the cases whose names contain `text`, and those that they are compared with.
fn keep(cases: &mut Vec<Case>, text: &str) -> Result<()> {
    let wanted = |case: &&Case| case.name.contains(text);
    let needed: Vec<String> =
        cases.iter().filter(wanted).filter_map(|case| case.direct.clone()).collect();
    cases.retain(|case| case.name.contains(text) || needed.contains(&case.name));
    ensure!(!cases.is_empty(), "no case has {text:?} in its name");
    Ok(())
}
