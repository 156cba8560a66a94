//! Runs one job of this program in a supervised child: a cgroup and network namespaces of its
//! own, one job at a time on the machine.
//!
//! No job may run outside of that: it would change the machine's own network.

use std::{
    env,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::{Lab, requirement, supervise};

use crate::lock::Lock;

/// Starts this program again, with the same arguments, in the surroundings that a job needs. The
/// child comes here too, and runs `job`. Returns what the job returned.
///
/// # Errors
/// When the machine lacks what a job needs, another job runs, or this one exceeds `limit`.
pub(crate) fn run(
    limit: Option<Duration>,
    job: impl FnOnce(&Lab) -> Result<ExitCode>,
) -> Result<ExitCode> {
    if let Some(lab) = Lab::enter()? {
        return job(&lab);
    }
    if let Some(missing) = requirement::missing() {
        bail!("this machine cannot run it: {missing}");
    }
    let _lock = Lock::acquire()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1));
    let ended = supervise::run(command, limit)?;
    if ended.killed {
        bail!("it did not end in time and was killed");
    }
    let code = ended.status.code().with_context(|| format!("it died, {}", ended.status))?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}
