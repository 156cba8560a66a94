//! A program as a child process, and what it writes.
//!
//! It is started through a guard, which ties its life to ours and then becomes the program
//! (`socklb-lab guard`), since a process can ask for that only for itself. Nothing here may know
//! what the program does.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, PipeReader},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};

use crate::{signals::pidfd_of, supervise};

/// How long a program may take to end after SIGTERM.
const ENDING: Duration = Duration::from_secs(20);
/// Lines of its log that are kept until someone asks for them.
const LOG_LINES: usize = 1000;

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// The guard, a `socklb-lab`, to which options of its own and the program are yet to be added. The
/// program dies with the *thread* that starts it.
pub(crate) fn guard(path: &Path) -> Command {
    let mut command = Command::new(path);
    supervise::forget(&mut command)
        // Nothing here is reached through a proxy of the machine's.
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .arg("guard")
        .arg(process::id().to_string())
        .stdin(Stdio::null())
        // Ctrl-C is for us: what we started has to go on until we are done.
        .process_group(0);
    command
}

impl Process {
    /// Starts what [`guard`] began, and reads what it writes to standard output and standard error.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let (output, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = spawn(&mut command)?;
        // It holds the write end of the pipe, which would keep the log's reader waiting.
        drop(command);
        let pidfd = pidfd_of(&child)?;
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let reader = {
            let log = Arc::clone(&log);
            thread::Builder::new().name("log".into()).spawn(move || read(output, &log))?
        };
        Ok(Self { child, pidfd, log, reader: Some(reader) })
    }

    /// Turns readable when the program ends.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the program ended, if it did.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The lines that the program has written since the last call, at most the latest thousand.
    pub fn new_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Ends the program at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Ends the program in order, and returns how it ended with the rest of its log.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(mut self) -> io::Result<(ExitStatus, Vec<String>)> {
        self.end();
        Ok((self.child.wait()?, self.new_lines()))
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

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts what [`guard`] began.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    command
        .spawn()
        .with_context(|| format!("cannot start the guard {}", command.get_program().display()))
}

/// Whether one of `descriptors` turned readable within `limit`.
pub(crate) fn wait(descriptors: &mut [PollFd<'_>], limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("some seconds fit a timespec");
        match poll(descriptors, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            // Another Ctrl-C is no reason to wait any shorter.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for a program"),
        }
    }
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
