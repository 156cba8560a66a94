//! The agent as a process of its own: started, waited for until it reports that it balances, and
//! ended.
//!
//! Nothing here may know what the agent does.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags};

use crate::{
    Lab,
    process::{self, Process},
};

/// How long the agent may take until it reports READY=1: the verifier's time above all, where the
/// processor is emulated.
const STARTING: Duration = Duration::from_secs(30);

/// The running agent. Dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    process: Process,
}

/// The agent's binary, beside the directory of the test that calls this. `cargo test --workspace`
/// builds it.
///
/// # Errors
/// When it is not there.
pub fn binary() -> Result<PathBuf> {
    let test = env::current_exe()?;
    let directory = test.ancestors().nth(2).context("a test lies in target/PROFILE/deps")?;
    let path = directory.join("socklb");
    ensure!(path.exists(), "{} is missing: cargo build --package lb-userspace", path.display());
    Ok(path)
}

impl Agent {
    /// Starts `AGENT ARGUMENTS` in the calling thread's network namespace and the experiment's
    /// cgroup, and returns when it has reported READY=1 (sd_notify(3)).
    ///
    /// `guard` is the path of `socklb-lab`. The agent dies with the calling *thread*.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready in half a minute; with its log.
    pub fn start(lab: &Lab, guard: &Path, agent: &Path, arguments: &[OsString]) -> Result<Self> {
        let path = lab.scratch().join("notify");
        let notify = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        notify.set_nonblocking(true)?;
        let mut command = process::guard(guard);
        command.arg(agent).args(arguments).env("NOTIFY_SOCKET", &path);
        let mut started = Self { process: Process::start(command)? };
        let outcome = started.wait_until_ready(&notify);
        std::fs::remove_file(&path)?;
        match outcome {
            Ok(()) => Ok(started),
            Err(error) => {
                let (_, log) = started.stop()?;
                bail!("{}: {error:#}; its log:\n{}", agent.display(), log.join("\n"))
            }
        }
    }

    /// How the agent ended, if it did.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// The lines that the agent has logged since the last call, at most the latest thousand.
    pub fn new_lines(&self) -> Vec<String> {
        self.process.new_lines()
    }

    /// Ends the agent at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub fn kill(self) -> io::Result<()> {
        self.process.kill()
    }

    /// Ends the agent in order, and returns how it ended with the rest of its log.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(self) -> io::Result<(ExitStatus, Vec<String>)> {
        self.process.stop()
    }

    fn wait_until_ready(&mut self, notify: &UnixDatagram) -> Result<()> {
        let deadline = Instant::now() + STARTING;
        loop {
            let mut message = [0; 4096];
            match notify.recv(&mut message) {
                Ok(length) if is_ready(&message[..length]) => return Ok(()),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot hear from it"),
            }
            if let Some(status) = self.process.ended()? {
                bail!("it ended before it was ready, {status}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("it did not report READY=1 in {} seconds", STARTING.as_secs());
            }
            let mut either = [
                PollFd::new(notify, PollFlags::IN),
                PollFd::new(self.process.pidfd(), PollFlags::IN),
            ];
            process::wait(&mut either, left)?;
        }
    }
}

/// sd_notify(3): lines of VARIABLE=VALUE.
fn is_ready(message: &[u8]) -> bool {
    message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}
