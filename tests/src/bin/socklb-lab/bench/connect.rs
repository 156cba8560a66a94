//! `bench connect`: what socklb adds to the system calls that it hooks into, and what its programs
//! take, whatever the number of frontends.
//!
//! A round makes every case's calls one case after the other, in an order shuffled anew, so that
//! what else the machine does falls on all of them alike. A case is compared with the direct calls
//! of its own round. The kernel's statistics cost clock reads: they are off while calls are timed,
//! and the programs are measured in a second part of each round.

mod act;
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
/// Of the calls that are timed, the part that is made again with statistics on.
const WITH_STATISTICS: u32 = 2;

/// What connect(), sendto(), recvfrom(), getpeername() and bind() cost, with 10 to 100,000
/// frontends.
///
/// Names begin with the hook and the protocol, or, for whole calls on UDP sockets, with the call;
/// "mapped" is IPv4 on an AF_INET6 socket. Rows on "direct" and "detached" have no program on the
/// cgroup; the rows of whole calls that follow are compared with them. The others run with all
/// programs in force.
///
/// "connect4-tcp" makes connections to frontends picked at random among all, so that the more there
/// are, the fewer entries are in a CPU cache; "-same" to one frontend, again and again; "-loop" has
/// TCP connects end right behind the program, so that nothing else happens in between, as do all
/// rows on sendmsg; those on recvmsg look at one datagram again and again. Connects and "-first"
/// take a new socket each, for which the kernel makes room to remember the Service; "-again",
/// "-steady" and the rest stay with one.
///
/// "-miss": the destination is no Service's. "-affinity": the Service has session affinity.
/// "-nopeername": TCP sockets remember nothing, as with --peername udp. "-sixteen": the socket sends
/// to 16 Services in turn; "-after-sixteen": it has. "floor" is a program that returns at once:
/// nearly all of it is the cost of the statistics.
///
/// p50_ns and p99_ns are the call's alone, over all rounds; null where only the program counts.
/// ratio_to_direct compares medians within a round: the median over the rounds. program_ns is one
/// run of the program by the kernel's statistics, the cost of their own clock included: the mean of
/// a round, the median over the rounds; 0 without a program.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Timed calls per case and round; half as many follow for the program's statistics, or five
    /// times as many that make no connection
    #[arg(long, value_name = "N", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    calls: u32,
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
            cases[index].time(arguments.calls, &mut rng)?;
        }
        // In force until dropped, and with this process at the latest.
        let statistics =
            enable_stats(Stats::RunTime).context("cannot switch on the kernel's statistics")?;
        for &index in &order {
            cases[index].count(arguments.calls / WITH_STATISTICS, &mut rng)?;
        }
        drop(statistics);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if cases.iter().any(|case| case.disturbed) {
        eprintln!(
            "The kernel's BPF statistics were on while calls were timed, switched on by someone \
             else (kernel.bpf_stats_enabled, or bpftool prog profile): calls through a program \
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
