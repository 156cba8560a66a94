//! `cargo xtask vm`: the integration tests on kernels that this machine does not run.
//!
//! Each kernel boots in an emulated machine of its own, with a root file system in memory and
//! without a network. This needs no root, no KVM, and nothing of this machine's kernel. It must
//! never leave a machine running, or count a test that was not run as passed.

mod contents;
mod guest;
mod initrd;
mod kernel;
mod modules;
mod payload;
mod report;
mod results;

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{setup::test_tools, step, workspace::Workspace};
use contents::Contents;
use kernel::Series;
use payload::Payload;
use report::Row;
use results::{Listener, Results};

/// Run the integration tests on Debian's cloud kernels, under software emulation.
///
/// Kernels are downloaded once, to target/vm; remove that folder to get newer ones. Prints a table
/// of tests and kernels. Exits with 1 if a test failed or a kernel did not boot; a test that a
/// kernel cannot run is listed with its reason, and is no failure. Left out, unless a filter names
/// them, are programs that test API servers and ask nothing of a kernel (apiserver, kube_crash,
/// kube_faults, kube_objects). All tests take 5 to 25 minutes for each kernel. Needs qemu and
/// busybox: `cargo xtask setup --test-tools`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernels; may be repeated, or a list with commas
    #[arg(
        long = "kernel",
        value_name = "VERSION",
        default_value = "all",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(kernel::ALL.map(|kernel| kernel.version).into_iter().chain(["all"]))
    )]
    kernels: Vec<String>,
    /// Print one JSON object on standard output instead of tables
    #[arg(long)]
    json: bool,
    /// Minutes that one kernel may take
    #[arg(long, value_name = "MINUTES", default_value_t = 45, value_parser = clap::value_parser!(u64).range(1..=600))]
    limit: u64,
    /// Words for the end of the kernels' command line, as ipv6.disable=1
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Only tests whose PROGRAM::TEST contains one of these
    #[arg(last = true, value_name = "TEST_FILTER")]
    filters: Vec<String>,
}

/// Runs the matrix.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    step::catch_end()?;
    check_tools()?;
    let payload = Payload::build(workspace, &args.filters)?;
    let scratch = tempfile::tempdir_in(workspace.target())
        .with_context(|| format!("cannot write to {}", workspace.target().display()))?;
    let contents = Contents::collect(workspace, &payload, scratch.path())?;
    let matrix = Matrix {
        home: &workspace.target().join("vm"),
        scratch: scratch.path(),
        payload: &payload,
        contents: &contents,
        limit: Duration::from_secs(args.limit * 60),
        append: &args.append,
    };
    let mut rows = Vec::new();
    for series in args.series() {
        let row = matrix.test(series)?;
        eprint!("{}", report::failures(&row));
        eprintln!("{}", row.summary());
        rows.push(row);
    }
    if args.json {
        println!("{}", report::json(&rows));
    } else {
        print!("{}", report::text(&rows));
    }
    Ok(if rows.iter().all(Row::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    /// The chosen kernels, the oldest first.
    fn series(&self) -> impl Iterator<Item = Series> {
        let is_chosen = |version| self.kernels.iter().any(|name| name == "all" || name == version);
        kernel::ALL.into_iter().filter(move |series| is_chosen(series.version))
    }
}

fn check_tools() -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels are those of amd64, and the tests are built for this machine: run this on one \
         with an x86-64 processor"
    );
    for program in [guest::QEMU, "busybox"] {
        ensure!(
            test_tools::find(program).is_some(),
            "{program} is missing: cargo xtask setup --test-tools"
        );
    }
    Ok(())
}

/// What the kernels have in common.
struct Matrix<'a> {
    /// The folder of the kernels' packages.
    home: &'a Path,
    scratch: &'a Path,
    payload: &'a Payload,
    contents: &'a Contents<'a>,
    limit: Duration,
    /// What the kernels are told beside.
    append: &'a str,
}

impl Matrix<'_> {
    /// Runs the tests on one kernel. Fails only when interrupted: what goes wrong with one kernel
    /// must not hide what the others say.
    fn test(&self, series: Series) -> Result<Row> {
        let started = Instant::now();
        let outcome = self.boot(series);
        step::check_interrupt()?;
        let results = outcome
            .unwrap_or_else(|error| Listener::new(self.payload).finish(Some(format!("{error:#}"))));
        Ok(Row { version: series.version, seconds: started.elapsed().as_secs(), results })
    }

    fn boot(&self, series: Series) -> Result<Results> {
        let scratch = tempfile::tempdir_in(self.scratch)?;
        let scratch = scratch.path();
        let kernel = series.get(self.home, scratch)?;
        let modules = modules::load(&kernel.modules)?;
        let initrd = scratch.join("initrd");
        self.contents.write(&initrd, &modules, self.limit)?;

        let mut listener = Listener::new(self.payload);
        let bar = progress(&kernel.release, self.payload.count());
        let outcome = guest::run(&kernel, self.append, &initrd, scratch, self.limit, |line| {
            let done = listener.hear(line);
            bar.set_position(listener.count() as u64);
            if let Some(name) = line.strip_prefix("test ") {
                bar.set_message(name.to_owned());
            }
            done
        });
        bar.finish_and_clear();
        Ok(listener.finish(outcome.err().map(|error| format!("{error:#}"))))
    }
}

fn progress(release: &str, count: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        eprintln!("Testing on {release} ...");
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{prefix} [{elapsed}] {bar:20} {pos}/{len} {wide_msg}")
            .expect("a valid template");
    let bar = ProgressBar::new(count as u64).with_style(style);
    bar.set_prefix(release.to_owned());
    bar.set_message("booting");
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn versions(words: &str) -> Vec<&'static str> {
        let cli = Cli::try_parse_from(["vm"].into_iter().chain(words.split_whitespace()));
        let cli = cli.unwrap_or_else(|error| panic!("{error}"));
        cli.args.series().map(|series| series.version).collect()
    }

    #[test]
    fn kernels_come_in_their_order_and_once() {
        assert_eq!(versions("--kernel 7.3 --kernel 6.1,7.3"), ["6.1", "7.3"]);
        assert_eq!(versions("").len(), kernel::ALL.len());
        assert_eq!(versions("--kernel all -- churn"), versions(""));
        assert!(Cli::try_parse_from(["vm", "--kernel", "4.19"]).is_err());
    }
}
