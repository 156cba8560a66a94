//! Each program: whether this kernel takes it, and what that costs.
//!
//! This module must never keep a program loaded.

use serde::Serialize;

use crate::{
    chain::chain,
    dataplane::{Loaded, Object, Origins, Settings, hooks::INDISPENSABLE},
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

/// All of them.
pub(super) struct AllLoaded {
    pub(super) programs: Vec<Program>,
    /// Whether the kernel has `bpf_set_retval`. `None` if nothing could be loaded to find out.
    pub(super) refuses_with_errno: Option<bool>,
}

/// Loads all programs with small tables, and lets go of all of it.
pub(super) fn load() -> AllLoaded {
    let settings = Settings {
        affinity: SMALL,
        protect_node_ports: true,
        ..Settings::new(Sizes::new(SMALL, SMALL))
    };
    match Object::load(&settings) {
        Ok(mut object) => {
            let mut programs: Vec<Program> = object.programs().iter().map(Program::from).collect();
            programs.extend([Origins::Udp, Origins::All].map(|which| origins(&mut object, which)));
            AllLoaded { programs, refuses_with_errno: Some(object.refuses_with_errno) }
        }
        Err(error) => {
            let reason = reason(Some(&chain(&error)), "nothing is balanced");
            let name = INDISPENSABLE.to_owned();
            let none =
                Program { name, instructions: None, load_us: None, supported: false, reason };
            AllLoaded { programs: vec![none], refuses_with_errno: None }
        }
    }
}

/// An iterator by which sockets are found whose backend is gone.
fn origins(object: &mut Object, which: Origins) -> Program {
    let flag = match which {
        Origins::Udp => "udp",
        Origins::All => "all",
    };
    let consequence = format!(
        "--close-stale {flag} does nothing: sockets stay connected to backends that are gone"
    );
    let loaded = object.origins(which);
    let iterator = loaded.as_ref().ok();
    Program {
        name: which.program().to_owned(),
        instructions: iterator.and_then(|iterator| iterator.instructions),
        load_us: iterator.map(|iterator| iterator.took.as_micros()),
        supported: iterator.is_some(),
        reason: reason(loaded.as_ref().err().map(|error| chain(error)).as_deref(), &consequence),
    }
}

/// The first line of an error, and what it means. The verifier's log follows, which is for
/// developers.
fn reason(error: Option<&str>, consequence: &str) -> Option<String> {
    error.map(|error| format!("{}; {consequence}", error.lines().next().unwrap_or_default()))
}

impl From<&Loaded> for Program {
    fn from(loaded: &Loaded) -> Self {
        let supported = loaded.error.is_none();
        Self {
            name: loaded.hook.name.to_owned(),
            instructions: loaded.instructions.filter(|_| supported),
            load_us: supported.then_some(loaded.took.as_micros()),
            supported,
            reason: reason(loaded.error.as_deref(), loaded.hook.consequence),
        }
    }
}

impl Program {
    /// Whether nothing would be balanced without it.
    pub(super) fn is_required(&self) -> bool {
        self.name == INDISPENSABLE
    }
}
