//! `cargo xtask test`: all tests, and what was skipped.
//!
//! A test that cannot run here (no root, no BTF, a missing program) appends a line
//! `name<TAB>reason` to the file that SOCKLB_SKIPS names, and passes. This module must never let
//! such a line go unseen.
//!
//! A test that another run has (on a real API server: what needs one that fails on command; where this
//! kernel finds no sockets: what closes them, which `vm` runs on other kernels) appends such a line to
//! the file that SOCKLB_ELSEWHERE names. That is told too, and fails nothing.

use std::{env, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    apiserver,
    compiler::Compiler,
    privilege::Privilege,
    setup, step,
    workspace::{Workspace, cargo},
};

/// Run all tests: unit, property, interleaving, and integration on the real kernel.
///
/// Tests run as root, through sudo if need be; without either, those that need the kernel are
/// skipped and listed with the reason. Where CI is set, a skip is a failure. Exits with cargo
/// test's code otherwise.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this package's tests; may be repeated [default: all but lb-ebpf]
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Run the Kubernetes tests on a real API server: etcd and kube-apiserver from the folder that
    /// KUBEBUILDER_ASSETS names
    #[arg(long, conflicts_with = "package")]
    apiserver: bool,
    /// Test an optimised build
    #[arg(long)]
    release: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Arguments for the test programs, such as --nocapture
    #[arg(last = true, value_name = "HARNESS ARGS")]
    harness: Vec<String>,
}

/// Runs the tests.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let real = args.apiserver.then(apiserver::environment).transpose()?;
    setup::ensure(workspace)?;
    let scratch = tempfile::tempdir_in(workspace.target())
        .with_context(|| format!("cannot write to {}", workspace.target().display()))?;
    let [skips, elsewhere] = ["skips", "elsewhere"].map(|name| scratch.path().join(name));
    fs::write(&skips, "")?;
    fs::write(&elsewhere, "")?;

    let mut command = cargo();
    command.args(cargo_args(args)).env("SOCKLB_SKIPS", &skips).env("SOCKLB_ELSEWHERE", &elsewhere);
    if let Some(variables) = real {
        command.envs(variables);
        build_agent(args.release)?;
    }
    match Privilege::get() {
        Ok(privilege) => {
            privilege.ask()?;
            let runner = privilege.prefix().join(" ");
            if !runner.is_empty() {
                command.env(runner_variable(&Compiler::find()?.host), runner);
            }
        }
        Err(error) => eprintln!("tests on the kernel will be skipped: {error:#}"),
    }
    let status = command.status().context("cannot run cargo")?;
    step::check_interrupt()?;

    let skipped = report(&skips, "skipped")?;
    report(&elsewhere, "left to other runs")?;
    if !args.apiserver && has_lab(&args.package) {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        if let Some(note) = apiserver::note(&tests)? {
            eprintln!("\n{note}");
        }
    }
    if let Some(code) = status.code().filter(|&code| code != 0) {
        return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
    }
    if !status.success() {
        anyhow::bail!("cargo test: {status}");
    }
    if skipped > 0 && env::var_os("CI").is_some() {
        anyhow::bail!("CI is set, where every test must run: {skipped} skipped");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the laboratory's tests are among those of these packages.
fn has_lab(packages: &[String]) -> bool {
    packages.is_empty() || packages.iter().any(|package| package == "lb-tests")
}

/// Builds the agent that the laboratory's tests start: cargo does that by itself only when it tests
/// the agent's package too.
fn build_agent(release: bool) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--package=lb-userspace", "--package=lb-tests"]);
    if release {
        command.arg("--release");
    }
    let status = command.status().context("cannot run cargo")?;
    step::check_interrupt()?;
    anyhow::ensure!(status.success(), "the build failed; cargo's messages above say why");
    Ok(())
}

/// Says which tests did not run, and why. Returns how many.
fn report(file: &Path, what: &str) -> Result<usize> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let count = text.lines().count();
    if count > 0 {
        eprintln!("\n{count} {what}:");
        for line in text.lines() {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
            eprintln!("  {name}: {reason}");
        }
    }
    Ok(count)
}

fn cargo_args(args: &Args) -> Vec<&str> {
    // One run tells all that fails.
    let mut words = vec!["test", "--no-fail-fast"];
    if args.apiserver {
        words.extend(["--package=lb-tests", "--test=kube*"]);
    } else if args.package.is_empty() {
        // lb-ebpf builds for the BPF target only.
        words.extend(["--workspace", "--exclude=lb-ebpf"]);
    }
    for package in &args.package {
        words.extend(["--package", package]);
    }
    if args.release {
        words.push("--release");
    }
    words.extend(args.filter.as_deref());
    if !args.harness.is_empty() {
        words.push("--");
        words.extend(args.harness.iter().map(String::as_str));
    }
    words
}

/// The variable by which cargo learns what to put before a test program of this target.
fn runner_variable(triple: &str) -> String {
    format!("CARGO_TARGET_{}_RUNNER", triple.replace(['-', '.'], "_").to_uppercase())
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

    fn words(line: &str) -> Vec<String> {
        let cli = Cli::try_parse_from(["test"].into_iter().chain(line.split_whitespace()));
        let cli = cli.unwrap_or_else(|error| panic!("{error}"));
        cargo_args(&cli.args).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn all_packages_unless_some_are_named() {
        assert_eq!(words(""), ["test", "--no-fail-fast", "--workspace", "--exclude=lb-ebpf"]);
        assert_eq!(
            words("-p lb-common -p xtask --release"),
            ["test", "--no-fail-fast", "--package", "lb-common", "--package", "xtask", "--release"]
        );
    }

    #[test]
    fn the_real_server_is_for_the_kubernetes_tests() {
        assert_eq!(
            words("--apiserver services"),
            ["test", "--no-fail-fast", "--package=lb-tests", "--test=kube*", "services"]
        );
        assert!(Cli::try_parse_from(["test", "--apiserver", "-p", "xtask"]).is_err());
        assert_eq!("--test=kube*", format!("--test={}*", apiserver::PREFIX));
    }

    #[test]
    fn filter_and_harness_arguments_keep_their_places() {
        assert_eq!(
            words("churn -- --nocapture --test-threads=1"),
            [
                "test",
                "--no-fail-fast",
                "--workspace",
                "--exclude=lb-ebpf",
                "churn",
                "--",
                "--nocapture",
                "--test-threads=1"
            ]
        );
    }

    #[test]
    fn the_runners_variable_is_cargos() {
        assert_eq!(
            runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }

    #[test]
    fn every_line_is_a_skip() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(report(file.path(), "skipped").unwrap(), 0);
        fs::write(file.path(), "a::b\tneeds root\nc\n").unwrap();
        assert_eq!(report(file.path(), "skipped").unwrap(), 2);
    }
}
