//! Each program: whether this kernel takes it, and what that costs.
//!
//! This module must never keep a program loaded.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    dataplane::{LoadError, Object},
    publish::Sizes,
};

/// Sizes of tables that hardly take memory: the programs are the same with any.
const SMALL: u32 = 64;

/// A program, as people and machines read of it.
#[derive(Debug, Serialize)]
pub(super) struct Program {
    pub(super) name: String,
    /// How many the verifier went through; not told before Linux 5.16.
    pub(super) instructions: Option<u32>,
    /// Microseconds that loading took, verification included.
    pub(super) load_us: Option<u128>,
    pub(super) supported: bool,
    /// Why it cannot be loaded, and what does not work without it.
    pub(super) reason: Option<String>,
}

/// What became of an attempt to load a program.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: &'static str,
    pub(super) instructions: Option<u32>,
    pub(super) load: Duration,
    pub(super) error: Option<String>,
}

/// All of them.
pub(super) struct AllLoaded {
    pub(super) programs: Vec<Program>,
    /// Whether the kernel has `bpf_set_retval`. `None` if nothing could be loaded to find out.
    pub(super) refuses_with_errno: Option<bool>,
}

/// Loads the programs with small tables, and lets go of all of it.
pub(super) fn load() -> AllLoaded {
    let begin = Instant::now();
    let loaded = Object::load(Sizes::new(SMALL, SMALL)).and_then(|mut object| {
        let load = begin.elapsed();
        let info = object.program()?.info();
        let info = info.map_err(|source| LoadError::Program { name: "connect4", source })?;
        let instructions = info.verified_instruction_count();
        let connect4 = Loaded { name: "connect4", instructions, load, error: None };
        Ok((vec![connect4], object.refuses_with_errno))
    });
    match loaded {
        Ok((programs, refuses_with_errno)) => AllLoaded {
            programs: programs.into_iter().map(Program::from).collect(),
            refuses_with_errno: Some(refuses_with_errno),
        },
        Err(error) => {
            let error = Some(chain(&error));
            let none = Loaded { name: "connect4", instructions: None, load: Duration::ZERO, error };
            AllLoaded { programs: vec![none.into()], refuses_with_errno: None }
        }
    }
}

impl From<Loaded> for Program {
    fn from(loaded: Loaded) -> Self {
        let supported = loaded.error.is_none();
        let reason = loaded.error.map(|error| {
            // The verifier's log follows, which is for developers.
            let error = error.lines().next().unwrap_or_default().to_owned();
            format!("{error}; {}", consequence(loaded.name))
        });
        Self {
            name: loaded.name.to_owned(),
            instructions: loaded.instructions.filter(|_| supported),
            load_us: supported.then_some(loaded.load.as_micros()),
            supported,
            reason,
        }
    }
}

impl Program {
    /// Whether nothing would be balanced without it.
    pub(super) fn is_required(&self) -> bool {
        self.name == "connect4"
    }
}

/// What does not work without a program.
fn consequence(name: &str) -> &'static str {
    match name {
        "connect4" => "connections over IPv4 are not balanced",
        "connect6" => "connections over IPv6 are not balanced",
        "sendmsg4" => "datagrams of unconnected sockets are not balanced over IPv4",
        "sendmsg6" => "datagrams of unconnected sockets are not balanced over IPv6",
        "recvmsg4" => "datagrams that come back over IPv4 show the backend's address",
        "recvmsg6" => "datagrams that come back over IPv6 show the backend's address",
        "getpeername4" => "getpeername() shows the backend's address over IPv4",
        "getpeername6" => "getpeername() shows the backend's address over IPv6",
        "post_bind4" => "--protect-nodeports does nothing over IPv4",
        "post_bind6" => "--protect-nodeports does nothing over IPv6",
        "origins" => "--close-stale does nothing: sockets stay connected to backends that are gone",
        _ => "what it is for does not work",
    }
}

/// An error and what led to it.
fn chain(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
