//! `bench churn`: connects and datagrams while the set of backends changes as fast as the agent can
//! publish.
//!
//! A run without connects or datagrams must never count as a good one.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use lab::churn;

use super::progress;
use crate::confined;

/// Connects and sends while backends change as fast as possible: no socket may fail or go astray.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long, in seconds
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Entries of the backends table; the fewer, the sooner they are reused, and the more often
    /// publishing waits for a grace period
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(128..=16_777_216))]
    max_backends: u32,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let limit = Duration::from_secs(arguments.seconds + 60);
    confined::run(Some(limit), |lab| {
        let bar = progress(arguments.seconds, "seconds");
        let duration = Duration::from_secs(arguments.seconds);
        let tick = |second| bar.set_position(second);
        let lines = churn::all(lab.families()?);
        let report = churn::run(lab, &lines, duration, |_| true, arguments.max_backends, tick)?;
        bar.finish_and_clear();
        if arguments.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            eprintln!(
                "{:.0} publishes, {:.0} connects, {:.0} datagrams a second: {} failed, {} went astray",
                report.publishes as f64 / report.seconds,
                report.connects as f64 / report.seconds,
                report.datagrams as f64 / report.seconds,
                report.failures,
                report.wrong_backends
            );
        }
        let happened = report.connects > 0 && report.datagrams > 0;
        let good = happened && report.failures == 0 && report.wrong_backends == 0;
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
