//! Programs that are no part of this project, as clients and servers of an experiment.
//!
//! They run in the experiment's cgroup and a network namespace of its own, with files in its
//! folder, and end with it. None may see the environment, the configuration or the names of the
//! machine that it runs on.

pub mod curl;
pub mod dns;
pub mod iperf3;
pub mod nginx;

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{Read, Seek},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags};

use crate::{Lab, netns::Namespace, pod::Pod, ports, process, signals::pidfd_of};
pub use crate::{ports::Transport, process::Process};

/// Where programs lie that a user's PATH does not always have.
const SYSTEM: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// How long a server may take until it listens, and a client until it ends. An emulated processor
/// is slow.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often it is asked whether a server listens.
const TICK: Duration = Duration::from_millis(2);

/// Where a program lies, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Starts programs in an experiment.
#[derive(Debug)]
pub struct Programs<'lab> {
    lab: &'lab Lab,
    guard: &'lab Path,
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub struct Finished {
    /// What it returned.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

impl<'lab> Programs<'lab> {
    /// `guard` is the path of `socklb-lab`.
    pub fn new(lab: &'lab Lab, guard: &'lab Path) -> Self {
        Self { lab, guard }
    }

    /// The program `name`, in the calling thread's network namespace, to be given arguments.
    ///
    /// # Errors
    /// When it is not installed; see [`Need::Program`](crate::requirement::Need::Program).
    pub fn program(&self, name: &str) -> Result<Program<'_>> {
        let path = find(name).with_context(|| format!("{name} is not installed"))?;
        Ok(self.program_at(name, path))
    }

    /// The program at `path`, which is called `name` in errors.
    pub(crate) fn program_at(&self, name: &str, path: PathBuf) -> Program<'_> {
        let mut guard = process::guard(self.guard);
        guard
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", self.lab.scratch())
            .env("TMPDIR", self.lab.scratch())
            .current_dir(self.lab.scratch());
        Program { lab: self.lab, guard, name: name.into(), path, pod: None, arguments: Vec::new() }
    }

    /// A folder for one program's files.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        folder(self.lab, name)
    }
}

/// A program and its arguments.
#[derive(Debug)]
pub struct Program<'a> {
    lab: &'a Lab,
    guard: Command,
    name: String,
    path: PathBuf,
    pod: Option<&'a Pod>,
    arguments: Vec<std::ffi::OsString>,
}

impl<'a> Program<'a> {
    /// Runs in the Pod's network namespace.
    #[must_use]
    pub fn inside(mut self, pod: &'a Pod) -> Self {
        self.guard.arg("--net").arg(pod.namespace().path());
        self.pod = Some(pod);
        self
    }

    /// Looks names up at the DNS server `server`, and nowhere else. Without this it cannot look
    /// up any, except through a name service cache of the machine's.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn names_from(mut self, server: IpAddr) -> Result<Self> {
        let folder = folder(self.lab, "names")?;
        let resolv = folder.join("resolv.conf");
        fs::write(&resolv, format!("nameserver {server}\noptions timeout:5 attempts:3\n"))?;
        self.cover(&resolv, "/etc/resolv.conf");
        let switch = folder.join("nsswitch.conf");
        fs::write(&switch, "passwd: files\ngroup: files\nhosts: dns\n")?;
        if Path::new("/etc/nsswitch.conf").exists() {
            self.cover(&switch, "/etc/nsswitch.conf");
        }
        // glibc asks a running cache first (nscd(8)), which would ask the machine's servers.
        if Path::new("/run/nscd").exists() {
            let empty = folder.join("nscd");
            fs::create_dir(&empty)?;
            self.cover(&empty, "/run/nscd");
        }
        Ok(self)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it cannot be started, or does not end by itself.
    pub fn run(self) -> Result<Finished> {
        let mut output = tempfile::tempfile_in(self.lab.scratch())?;
        let mut errors = tempfile::tempfile_in(self.lab.scratch())?;
        let (name, mut command) = self.command();
        command.stdout(output.try_clone()?).stderr(errors.try_clone()?);
        let mut child = process::spawn(&mut command)?;
        let ended = pidfd_of(&child)
            .map_err(Into::into)
            .and_then(|pidfd| process::wait(&mut [PollFd::new(&pidfd, PollFlags::IN)], PATIENCE));
        // Does nothing to a program that has ended.
        child.kill()?;
        let status = child.wait()?;
        let mut text = [String::new(), String::new()];
        for (file, text) in [&mut output, &mut errors].into_iter().zip(&mut text) {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let [output, errors] = text;
        ensure!(ended?, "{name} did not end in {PATIENCE:?}; it wrote:\n{output}{errors}");
        Ok(Finished { status, output, errors })
    }

    /// Starts the program, and returns when all of `open` are open.
    ///
    /// # Errors
    /// When one is open already; when the program cannot be started, ends, or does not open them,
    /// with what it wrote.
    pub fn start(self, open: &[(Transport, SocketAddr)]) -> Result<Process> {
        let namespace = self.pod.map(Pod::namespace);
        let here = Namespace::current()?;
        let namespace = namespace.unwrap_or(&here);
        let (name, command) = self.command();
        for &(transport, address) in open {
            // Another's would be taken for the program's.
            let taken = ports::is_open(namespace, transport, address)?;
            ensure!(!taken, "{name}: {address} is already in use, {transport:?}");
        }
        let mut process = Process::start(command)?;
        match wait_until_open(&mut process, namespace, open) {
            Ok(()) => Ok(process),
            Err(error) => {
                let (_, log) = process.stop()?;
                bail!("{name}: {error:#}; it wrote:\n{}", log.join("\n"))
            }
        }
    }

    fn cover(&mut self, path: &Path, over: &str) {
        self.guard.arg("--mount").arg(path).arg(over);
    }

    /// The program's name, and how it is started.
    fn command(self) -> (String, Command) {
        let mut command = self.guard;
        command.arg("--").arg(self.path).args(self.arguments);
        (self.name, command)
    }
}

impl Finished {
    /// What the program wrote to standard output, if it succeeded.
    ///
    /// # Errors
    /// With what it wrote to standard error, if it did not.
    pub fn success(self) -> Result<String> {
        ensure!(self.status.success(), "{}\n{}{}", self.status, self.output, self.errors);
        Ok(self.output)
    }
}

/// Makes a folder of its own for one program's files.
fn folder(lab: &Lab, name: &str) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = lab.scratch().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

fn wait_until_open(
    process: &mut Process,
    namespace: &Namespace,
    ports: &[(Transport, SocketAddr)],
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for &(transport, address) in ports {
        while !ports::is_open(namespace, transport, address)? {
            if let Some(status) = process.ended()? {
                bail!("it ended before it listened, {status}");
            }
            ensure!(Instant::now() < deadline, "it does not listen on {address} in {PATIENCE:?}");
            process::wait(&mut [PollFd::new(process.pidfd(), PollFlags::IN)], TICK)?;
        }
    }
    Ok(())
}
