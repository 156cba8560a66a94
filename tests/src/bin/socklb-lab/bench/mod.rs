//! The benches: what socklb claims, measured on this machine, one file each.
//!
//! They run the agent's own code, in this process or as the binary, on the real kernel's tables. Nothing
//! here may assert a time: figures are printed, and judged by whoever reads them.

mod churn;
mod connect;
mod kube;
mod sync;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

/// Measures socklb on this machine; JSON on standard output with --json.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    Churn(churn::Arguments),
    Connect(connect::Arguments),
    Kube(kube::Arguments),
    Sync(sync::Arguments),
}

impl Bench {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        match self {
            Self::Churn(arguments) => churn::run(arguments),
            Self::Connect(arguments) => connect::run(arguments),
            Self::Kube(arguments) => kube::run(arguments),
            Self::Sync(arguments) => sync::run(arguments),
        }
    }
}

/// A progress bar on standard error, hidden where that is no terminal.
fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
        .expect("the template is valid");
    ProgressBar::new(length).with_style(style).with_message(what)
}
