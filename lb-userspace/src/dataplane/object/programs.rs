//! Loads the programs one by one, and tells how that went.
//!
//! Nothing here decides which are needed.

use std::time::{Duration, Instant};

use aya::{Ebpf, programs::Program};

use super::LoadError;
use crate::{
    chain::chain,
    dataplane::hooks::{Hook, INDISPENSABLE},
};

/// How the loading of one program went.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The program and its hook.
    pub hook: Hook,
    /// Instructions that the verifier went through (kernel 5.16).
    pub instructions: Option<u32>,
    /// What loading took, the verifier's time above all.
    pub took: Duration,
    /// Why the kernel refused it, if it did.
    pub error: Option<String>,
}

/// Loads a program. Without the indispensable one there is no going on.
pub(super) fn load(ebpf: &mut Ebpf, hook: Hook) -> Result<Loaded, LoadError> {
    let program = ebpf.program_mut(hook.name).ok_or(LoadError::Missing(hook.name))?;
    let start = Instant::now();
    let result = match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        _ => return Err(LoadError::Missing(hook.name)),
    };
    let took = start.elapsed();
    match result {
        Ok(()) => {
            let info = program.info().ok();
            let instructions = info.and_then(|info| info.verified_instruction_count());
            Ok(Loaded { hook, instructions, took, error: None })
        }
        Err(source) if hook.name == INDISPENSABLE => {
            Err(LoadError::Program { name: hook.name, source })
        }
        Err(error) => Ok(Loaded { hook, instructions: None, took, error: Some(chain(&error)) }),
    }
}
