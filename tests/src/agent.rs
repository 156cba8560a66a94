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

/// The agent's binary, beside this program or, for a test, beside its directory. `cargo test
/// --workspace` builds it.
///
/// # Errors
/// When it is not there.
pub fn binary() -> Result<PathBuf> {
    let own = env::current_exe()?;
    // A test lies in target/PROFILE/deps.
    let mut candidates = own.ancestors().skip(1).take(2).map(|folder| folder.join("socklb"));
    candidates.find(|path| path.exists()).with_context(|| {
        format!("no agent near {}: cargo build --package lb-userspace", own.display())
    })
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
        let mut starting = Self::launch(lab, guard, agent, arguments)?;
        let outcome = starting.wait(STARTING).and_then(|ready| {
            ensure!(ready, "it did not report READY=1 in {} seconds", STARTING.as_secs());
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(starting.agent),
            Err(error) => {
                let (_, log) = starting.agent.stop()?;
                bail!("{}: {error:#}; its log:\n{}", agent.display(), log.join("\n"))
            }
        }
    }

    /// The same, without waiting for it to be ready. One agent at a time can be waited for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(
        lab: &Lab,
        guard: &Path,
        agent: &Path,
        arguments: &[OsString],
    ) -> Result<Starting> {
        let path = lab.scratch().join("notify");
        let notify = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        notify.set_nonblocking(true)?;
        let mut command = process::guard(guard);
        command.arg(agent).args(arguments).env("NOTIFY_SOCKET", &path);
        let agent = Self { process: Process::start(command)? };
        Ok(Starting { agent, notify: Notify { socket: notify, path } })
    }

    /// How the agent ended, if it did.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// The agent's process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
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
}

/// An agent that may not be ready yet.
#[derive(Debug)]
pub struct Starting {
    /// The agent.
    pub agent: Agent,
    notify: Notify,
}

impl Starting {
    /// Waits until the agent has reported READY=1. Returns whether it did within `limit`.
    ///
    /// # Errors
    /// When it ends before.
    pub fn wait(&mut self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let mut message = [0; 4096];
            match self.notify.socket.recv(&mut message) {
                Ok(length) if is_ready(&message[..length]) => return Ok(true),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot hear from it"),
            }
            if let Some(status) = self.agent.process.ended()? {
                bail!("it ended before it was ready, {status}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut either = [
                PollFd::new(&self.notify.socket, PollFlags::IN),
                PollFd::new(self.agent.process.pidfd(), PollFlags::IN),
            ];
            process::wait(&mut either, left)?;
        }
    }
}

/// Where an agent reports.
#[derive(Debug)]
struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Drop for Notify {
    fn drop(&mut self) {
        // Nobody is told anything there any more; the folder goes with the experiment.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// sd_notify(3): lines of VARIABLE=VALUE.
fn is_ready(message: &[u8]) -> bool {
    message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}
