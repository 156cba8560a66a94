//! The agent as a child process: started, waited for until it reports that it balances, and ended.
//!
//! It is started through a guard, a program that ties its life to ours and then becomes the agent
//! (`socklb-lab guard`), since a process can ask for that only for itself. Nothing here may know
//! what the agent does.

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader, PipeReader},
    os::{fd::OwnedFd, unix::net::UnixDatagram, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};

use crate::{Lab, signals::pidfd_of, supervise};

/// How long the agent may take until it reports READY=1.
const STARTING: Duration = Duration::from_secs(10);
/// How long it may take to end after SIGTERM.
const ENDING: Duration = Duration::from_secs(5);
/// Lines of its log that are kept until someone asks for them.
const LOG_LINES: usize = 1000;

/// The running agent. Dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    pidfd: OwnedFd,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
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
    /// When it cannot be started, ends, or is not ready in ten seconds; with its log.
    pub fn start(lab: &Lab, guard: &Path, agent: &Path, arguments: &[OsString]) -> Result<Self> {
        let path = lab.scratch().join("notify");
        let notify = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        notify.set_nonblocking(true)?;
        let (output, writer) = io::pipe()?;
        let mut command = Command::new(guard);
        supervise::forget(&mut command)
            .arg("guard")
            .arg(process::id().to_string())
            .arg(agent)
            .args(arguments)
            .env("NOTIFY_SOCKET", &path)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // Ctrl-C is for us: the agent has to balance until the last client is done.
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start the guard {}", guard.display()))?;
        // It holds the write end of the pipe, which would keep the log's reader waiting.
        drop(command);
        let pidfd = pidfd_of(&child)?;
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let reader = {
            let log = Arc::clone(&log);
            thread::Builder::new().name("agent log".into()).spawn(move || read(output, &log))?
        };
        let mut started = Self { child, pidfd, log, reader: Some(reader) };
        let outcome = started.wait_until_ready(&notify);
        std::fs::remove_file(&path)?;
        if let Err(error) = outcome {
            started.end();
            bail!("{}: {error:#}; its log:\n{}", agent.display(), started.new_lines().join("\n"));
        }
        Ok(started)
    }

    /// How the agent ended, if it did.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The lines that the agent has logged since the last call, at most the latest thousand.
    pub fn new_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Ends the agent at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Ends the agent in order, and returns how it ended with the rest of its log.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(mut self) -> io::Result<(ExitStatus, Vec<String>)> {
        self.end();
        Ok((self.child.wait()?, self.new_lines()))
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
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended before it was ready, {status}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("it did not report READY=1 in {} seconds", STARTING.as_secs());
            }
            let mut either =
                [PollFd::new(notify, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
            wait(&mut either, left)?;
        }
    }

    /// SIGTERM, then SIGKILL. Its whole log has been read afterwards.
    fn end(&mut self) {
        // Errors here say that it has ended.
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        if !matches!(wait(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], ENDING), Ok(true)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether one of `descriptors` turned readable within `limit`.
fn wait(descriptors: &mut [PollFd<'_>], limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("some seconds fit a timespec");
        match poll(descriptors, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            // Another Ctrl-C is no reason to wait any shorter.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the agent"),
        }
    }
}

/// sd_notify(3): lines of VARIABLE=VALUE.
fn is_ready(message: &[u8]) -> bool {
    message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}

/// Keeps the latest lines of `output` until it ends.
fn read(output: PipeReader, log: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}
