//! What a machine must have for an experiment, and the note about those that it cannot run.
//!
//! Nothing may be skipped in silence: whoever runs the tests reads the file named in
//! `SOCKLB_SKIPS`, and treats a skip as a failure where none is allowed.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use aya::programs::ProgramError;
use lb_userspace::{
    dataplane::{LoadError, Object, Origins, Settings},
    netns::current_cookie,
    publish::Sizes,
};
use rustix::io::Errno;

use crate::{apiserver, family::Family, ipv6, programs, socket::Socket};

/// Names a file that receives one line, `name<TAB>reason`, for each test that could not run.
pub const SKIPS: &str = "SOCKLB_SKIPS";

/// Names a file like that of [`SKIPS`], for each test that other runs have: on a real API server, those
/// that need one that fails on command; and those of closing sockets where the machine's kernel does not
/// allow it, since they run on other kernels too.
pub const ELSEWHERE: &str = "SOCKLB_ELSEWHERE";

/// Why no experiment can run on this machine, or `None` if one can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("the kernel has no BTF (/sys/kernel/btf/vmlinux)".into());
    }
    crate::cgroup::own().err().map(|error| format!("{error:#}"))
}

/// What only some experiments need.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// IPv6 in the kernel.
    Ipv6,
    /// Multipath TCP in the kernel, switched on (Linux 5.6).
    Mptcp,
    /// Numbers that name network namespaces, told by SO_NETNS_COOKIE (Linux 5.14).
    NetnsCookie,
    /// A transport protocol, by the name that /proc/net/protocols has. To ask for a socket would make
    /// the kernel load a module.
    Protocol(&'static str),
    /// A program that is no part of this project.
    Program(&'static str),
    /// A BPF iterator over the storage of sockets (Linux 5.9), which some kernels refuse even to root.
    /// Without it no socket is closed, nor found.
    Origins,
    /// An API server that fails on command, and tells what it was asked: the lab's own.
    Double,
}

impl Need {
    /// Why this machine does not meet it, or `None` if it does.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Ipv6 => ipv6::missing(),
            Self::Mptcp => {
                let error = Socket::mptcp(Family::V4).err()?;
                Some(format!("the kernel has no multipath TCP: {error}"))
            }
            Self::NetnsCookie => match current_cookie() {
                Ok(None) => Some("the kernel has no SO_NETNS_COOKIE (Linux 5.14)".into()),
                // What else is wrong shows where it matters.
                Ok(Some(_)) | Err(_) => None,
            },
            Self::Protocol(name) => protocol_missing(name),
            Self::Origins => origins_refused(),
            Self::Program(name) if programs::find(name).is_some() => None,
            Self::Program(name) => {
                Some(format!("{name} is not installed: cargo xtask setup --test-tools"))
            }
            Self::Double if apiserver::is_real() => {
                Some("it needs the lab's own API server".into())
            }
            Self::Double => None,
        }
    }

    /// Notes that the test `name` did not run, for want of this.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn note(self, name: &str, reason: &str) -> Result<()> {
        let elsewhere = env::var_os(ELSEWHERE).is_some();
        match self {
            Self::Double | Self::Origins | Self::Protocol(_) if elsewhere => {
                append(ELSEWHERE, name, reason)
            }
            _ => note_skip(name, reason),
        }
    }
}

fn protocol_missing(name: &str) -> Option<String> {
    // What cannot be read shows in the tests of everything else.
    let protocols = fs::read_to_string("/proc/net/protocols").unwrap_or_default();
    let is_it = |line: &str| line.split_whitespace().next() == Some(name);
    (!protocols.lines().any(is_it)).then(|| format!("the kernel has no protocol {name}"))
}

/// Why the kernel does not let sockets be found, if so. Only its plain no counts (EPERM): a program that
/// the verifier does not take is the program's fault, and fails the tests.
fn origins_refused() -> Option<String> {
    // What else is wrong shows where it matters.
    let mut object = Object::load(&Settings::new(Sizes::new(1, 1))).ok()?;
    let Err(LoadError::Program { source: ProgramError::LoadError { io_error, .. }, .. }) =
        object.origins(Origins::Udp)
    else {
        return None;
    };
    let refused = io_error.raw_os_error() == Some(Errno::PERM.raw_os_error());
    refused.then(|| "this kernel allows nobody an iterator over the storage of sockets".into())
}

/// Notes that the test `name` did not run.
///
/// # Errors
/// When the file that [`SKIPS`] names cannot be written.
pub fn note_skip(name: &str, reason: &str) -> Result<()> {
    append(SKIPS, name, reason)
}

/// Appends a line to the file that `variable` names, if it does.
fn append(variable: &str, name: &str, reason: &str) -> Result<()> {
    eprintln!("skipped: {reason}");
    let Some(path) = env::var_os(variable) else { return Ok(()) };
    // One write of one line: tests append to the file at the same time.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{name}\t{reason}\n").as_bytes()))
        .with_context(|| format!("cannot note a skip in {} ({variable})", path.display()))
}
