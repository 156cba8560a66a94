//! The agent as users run it: the binary, a folder of manifests, pins on a bpf filesystem.
//!
//! This must never look into the tables: what a test sees, a user sees.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    Lab,
    agent::{Agent, binary},
    manifest::Service,
    socket::Errno,
};

/// How long a change may take to show. An emulated processor is slow.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked.
const TICK: Duration = Duration::from_millis(5);

/// Manifests, a bpf filesystem, and what an agent is told of both.
#[derive(Debug)]
pub struct Stage<'lab> {
    lab: &'lab Lab,
    guard: &'lab Path,
    manifests: PathBuf,
    pins: PathBuf,
}

impl<'lab> Stage<'lab> {
    /// An empty folder of manifests, and no agent. `guard` is the path of `socklb-lab`.
    ///
    /// # Errors
    /// When there is a stage already, or no bpf filesystem can be had.
    pub fn new(lab: &'lab Lab, guard: &'lab Path) -> Result<Self> {
        let manifests = lab.scratch().join("manifests");
        fs::create_dir(&manifests)?;
        Ok(Self { lab, guard, manifests, pins: lab.bpffs()?.join("socklb") })
    }

    /// The folder of manifests.
    pub fn manifests(&self) -> &Path {
        &self.manifests
    }

    /// The agent's pin directory.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Writes the manifest `name`.yaml by renaming, as a careful writer does.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let new = self.manifests.join(".new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.file(name))?)
    }

    /// Removes the manifest `name`.yaml.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.file(name))?)
    }

    /// Writes a Service and its endpoints, as one manifest with the Service's name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn apply(&self, service: &Service) -> Result<()> {
        self.write(service.name(), &service.text())
    }

    /// Where the manifest `name` is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.manifests.join(format!("{name}.yaml"))
    }

    /// The arguments of `socklb` that run an agent here, with these flags.
    pub fn arguments(&self, flags: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into(), "--manifests".into()];
        arguments.extend([self.manifests.clone().into(), "--cgroup".into()]);
        arguments.extend([self.lab.cgroup().into(), "--pin".into(), self.pins.clone().into()]);
        arguments.extend(flags.iter().map(Into::into));
        arguments
    }

    /// Starts an agent with these flags, and returns when it balances.
    ///
    /// # Errors
    /// Those of [`Agent::start`].
    pub fn start(&self, flags: &[&str]) -> Result<Agent> {
        Agent::start(self.lab, self.guard, &binary()?, &self.arguments(flags))
    }

    /// Runs another verb on the same pins.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn socklb(&self, verb: &[&str]) -> Result<Output> {
        Ok(Command::new(binary()?).args(verb).arg("--pin").arg(&self.pins).output()?)
    }
}

/// Waits until `seen` says so, which it is asked again and again.
///
/// # Errors
/// That of `seen`; when it does not say so in [`PATIENCE`].
pub fn eventually(what: &str, mut seen: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !seen()? {
        ensure!(start.elapsed() < PATIENCE, "not seen in {PATIENCE:?}: {what}");
        thread::sleep(TICK);
    }
    Ok(())
}

/// Waits until the agent logs a line that holds all of `words`, and returns it. What it has logged by
/// then is not seen again.
///
/// # Errors
/// When it does not.
pub fn logged(agent: &Agent, words: &[&str]) -> Result<String> {
    let start = Instant::now();
    let mut seen = Vec::new();
    loop {
        for line in agent.new_lines() {
            if words.iter().all(|word| line.contains(word)) {
                return Ok(line);
            }
            seen.push(line);
        }
        if start.elapsed() > PATIENCE {
            bail!("{words:?} not logged in {PATIENCE:?}, but:\n{}", seen.join("\n"));
        }
        thread::sleep(TICK);
    }
}

/// What a refused `connect()`, `sendto()` or `bind()` fails with here: the programs can choose from
/// Linux 5.18 on (`bpf_set_retval`), and the kernel says EPERM before.
///
/// # Errors
/// When the kernel's release cannot be read.
pub fn refusal(chosen: Errno) -> Result<Errno> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(Errno::INVAL).with_context(|| format!("the release {release}"));
    };
    Ok(if (major, minor) >= (5, 18) { chosen } else { Errno::PERM })
}
