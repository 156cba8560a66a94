//! Lets a test's body run in a supervised process of its own.
//!
//! The test binary is started again for that one test. The body must never run in the process
//! that runs all tests: it would leave that process without its network.

use std::{
    env,
    io::{Read, Seek},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{self, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    Lab,
    requirement::{self, Need},
    signals, supervise,
};

/// What a child returns once its body has succeeded. It is not 0, which the test harness returns
/// when it found no test to run.
const PASSED: i32 = 86;
/// What a child returns when its body failed.
const FAILED: i32 = 87;
/// Names the seconds that a body may take before it counts as hanging, on a machine where two minutes
/// are too few for one that only works.
const LIMIT: &str = "SOCKLB_LAB_LIMIT";

/// How a body ended, and what can be said about it from outside.
#[derive(Debug)]
pub struct Observed {
    /// The body returned `Ok`.
    pub passed: bool,
    /// What the child wrote to standard output and standard error.
    pub output: String,
    /// How the process ended.
    pub ended: supervise::Ended,
}

/// Runs `body` as the test that calls this, isolated from the machine, and fails if it fails.
///
/// The code before the call runs in both processes, the code after it in the test's alone.
///
/// # Panics
/// When `body` panics, fails, or exceeds two minutes, or what `SOCKLB_LAB_LIMIT` says in seconds; when
/// it cannot be isolated although the machine meets all requirements.
pub fn isolated(body: impl FnOnce(&Lab) -> Result<()>) {
    isolated_with(&[], body);
}

/// Like [`isolated`], on a machine that meets these needs. Elsewhere that is noted.
///
/// # Panics
/// As [`isolated`] does.
pub fn isolated_with(needs: &[Need], body: impl FnOnce(&Lab) -> Result<()>) {
    let Some(observed) = observe_with(needs, limit(), body) else { return };
    eprint!("{}", observed.output);
    assert!(observed.passed, "failed in a process of its own: {}", describe(&observed.ended));
}

/// Like [`isolated`], but reports how `body` ended, whatever the way. `None` says that this
/// machine cannot run it, which has been noted.
///
/// # Panics
/// When `body` cannot be isolated although the machine meets all requirements.
pub fn observe(limit: Duration, body: impl FnOnce(&Lab) -> Result<()>) -> Option<Observed> {
    observe_with(&[], limit, body)
}

fn limit() -> Duration {
    let seconds = env::var(LIMIT).map_or(120, |seconds| seconds.parse().expect(LIMIT));
    Duration::from_secs(seconds)
}

fn observe_with(
    needs: &[Need],
    limit: Duration,
    body: impl FnOnce(&Lab) -> Result<()>,
) -> Option<Observed> {
    if let Some(lab) = Lab::enter().expect("a supervised child finds its surroundings") {
        run_and_exit(&lab, body);
    }
    // The harness gives the thread of each test the test's full name.
    let thread = thread::current();
    let test = thread.name().expect("called by a test, on the thread of that test");
    if let Some(reason) = requirement::missing() {
        requirement::note_skip(test, &reason).expect("skips are noted");
        return None;
    }
    if let Some((need, reason)) = needs.iter().find_map(|need| Some((need, need.missing()?))) {
        need.note(test, &reason).expect("skips are noted");
        return None;
    }
    let observed = supervise_test(test, limit).expect("the test can be run in isolation");
    if observed.ended.interrupted {
        signals::die_when_idle();
    }
    Some(observed)
}

fn supervise_test(test: &str, limit: Duration) -> Result<Observed> {
    let mut output = tempfile::tempfile().context("cannot make a file for the output")?;
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", test, "--nocapture", "--quiet"])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    let ended = supervise::run(command, Some(limit))?;
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    let passed = ended.status.code() == Some(PASSED);
    Ok(Observed { passed, output: String::from_utf8_lossy(&bytes).into_owned(), ended })
}

fn run_and_exit(lab: &Lab, body: impl FnOnce(&Lab) -> Result<()>) -> ! {
    // The process ends here, so nothing sees what a panic may have left half done.
    process::exit(match catch_unwind(AssertUnwindSafe(|| body(lab))) {
        Ok(Ok(())) => PASSED,
        Ok(Err(error)) => {
            eprintln!("{error:?}");
            FAILED
        }
        Err(_) => FAILED,
    })
}

fn describe(ended: &supervise::Ended) -> String {
    let status: ExitStatus = ended.status;
    match status.code() {
        Some(FAILED) => "the body failed, see above".into(),
        Some(0) => "the test binary did not find this test by its thread's name".into(),
        _ if ended.killed => "it took too long and was killed".into(),
        _ => status.to_string(),
    }
}
