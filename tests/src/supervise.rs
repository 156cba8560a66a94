//! Runs a program again as a child of this one, inside a cgroup of its own, and removes whatever
//! is left when it ends: processes, cgroup, files.
//!
//! The child finds out through its environment what it is, and enters the cgroup itself before it
//! makes a socket. It dies with its supervisor. The supervisor must never enter the cgroup: it
//! has to outlive everything in there.

use std::{
    env,
    os::{fd::AsFd, unix::process::parent_id},
    path::PathBuf,
    process::{self, Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, set_parent_process_death_signal},
};

use crate::{
    cgroup::{self, Cgroup},
    owned,
    scratch::Scratch,
    signals::{self, Watch},
};

/// Set for the child: the cgroup to enter.
const CGROUP: &str = "SOCKLB_LAB_CGROUP";
/// Set for the child: a folder for its files.
const SCRATCH: &str = "SOCKLB_LAB_SCRATCH";
/// Set for the child: the process that supervises it.
const SUPERVISOR: &str = "SOCKLB_LAB_SUPERVISOR";

/// How often the supervisor looks whether a signal has come.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long a child may take to end in order after a signal: longer than an agent that it starts
/// may take to be ready, and to end.
const GRACE: Duration = Duration::from_secs(60);

/// How a supervised child ended.
#[derive(Debug)]
pub struct Ended {
    /// What the child returned, or the signal that ended it.
    pub status: ExitStatus,
    /// It had to be killed, because it exceeded its time or did not heed a signal.
    pub killed: bool,
    /// A signal asked this process to end meanwhile.
    pub interrupted: bool,
    /// Where the cgroup was.
    pub cgroup: PathBuf,
}

/// Runs `command`, a program that calls `enter` first thing, to its end or for at most `limit`.
///
/// # Errors
/// When the surroundings cannot be made, the child cannot be started, or something cannot be
/// removed afterwards.
pub fn run(mut command: Command, limit: Option<Duration>) -> Result<Ended> {
    // Dropped last: a signal must not end this process before the rest is removed.
    let watch = Watch::begin()?;
    let name = owned::name();
    let scratch = Scratch::create(&name)?;
    let cgroup = Cgroup::create(&name)?;
    let path = cgroup.path().to_path_buf();
    command
        .env(CGROUP, &path)
        .env(SCRATCH, scratch.path())
        .env(SUPERVISOR, process::id().to_string());
    let (child, pidfd) = watch.spawn(&mut command)?;
    let mut child = KillOnDrop(child);
    let killed = !ends_in_time(&pidfd, limit)?;
    if killed {
        child.0.kill().context("cannot kill the child")?;
    }
    let status = child.0.wait().context("cannot wait for the child")?;
    cgroup.remove()?;
    Ok(Ended { status, killed, interrupted: signals::caught().is_some(), cgroup: path })
}

/// The surroundings that the supervisor made for the calling process.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) cgroup: PathBuf,
    pub(crate) scratch: PathBuf,
}

/// In a supervised child: ties its life to the supervisor's and enters the cgroup. Elsewhere:
/// returns `None`.
///
/// To be called before any socket is made, by a thread that lives until the process ends.
pub(crate) fn enter() -> Result<Option<Surroundings>> {
    let Some(cgroup) = env::var_os(CGROUP).map(PathBuf::from) else { return Ok(None) };
    let scratch = env::var_os(SCRATCH).map(PathBuf::from);
    let supervisor = env::var(SUPERVISOR).ok().and_then(|pid| pid.parse().ok());
    let (scratch, supervisor) = scratch
        .zip(supervisor)
        .with_context(|| format!("{CGROUP} is set without {SCRATCH} or {SUPERVISOR}"))?;
    die_with_parent(supervisor)?;
    cgroup::enter(&cgroup)?;
    Ok(Some(Surroundings { cgroup, scratch }))
}

/// Makes the kernel kill the calling process when its parent, which must be `parent`, dies. It
/// stays so across `exec`.
///
/// # Errors
/// When the parent has died already.
pub fn die_with_parent(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    ensure!(parent_id() == parent, "process {parent}, which started this one, has died");
    Ok(())
}

/// Removes from `command` what would make it take itself for a supervised child.
pub(crate) fn forget(command: &mut Command) -> &mut Command {
    [CGROUP, SCRATCH, SUPERVISOR].iter().fold(command, |command, name| command.env_remove(name))
}

fn ends_in_time(pidfd: impl AsFd, limit: Option<Duration>) -> Result<bool> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).context("cannot wait for the child"),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline)
            || signals::caught().is_some_and(|(_, at)| at.elapsed() >= GRACE)
        {
            return Ok(false);
        }
    }
}

/// Kills and reaps the child when the supervisor panics or fails.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Both do nothing once the child has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
