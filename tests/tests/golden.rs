//! The scripts in `golden/`, on plain memory and in the kernel. docs/testing.md explains them.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Result, ensure};
use lab::golden::{Kernel, Plain, Script, Tables, run, scripts, updates};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");

/// Does something with each script, and tells all that failed at once.
fn each(mut act: impl FnMut(&Script) -> Result<()>) -> Result<()> {
    let scripts = scripts(Path::new(FOLDER))?;
    let failed: Vec<_> = scripts.iter().filter_map(|script| act(script).err()).collect();
    let told: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
    ensure!(told.is_empty(), "{} of {} scripts:\n{}", told.len(), scripts.len(), told.join("\n"));
    Ok(())
}

/// What a script leads to without a kernel.
fn in_memory(script: &Script) -> Result<Vec<Vec<String>>> {
    run(script, &mut Plain::default())
}

#[test]
fn scripts_on_plain_memory() {
    let checked = each(|script| {
        let dumps = in_memory(script)?;
        if updates() {
            script.with_dumps(&dumps)?.write()
        } else {
            script.compare(&dumps, Plain::NAME)
        }
    });
    if let Err(error) = checked {
        panic!("{error:#}");
    }
}

#[test]
fn scripts_in_the_kernel() {
    lab::isolated(|_| {
        let mut tables = Kernel::new()?;
        each(|script| {
            tables.clear()?;
            let dumps = run(script, &mut tables)?;
            if updates() {
                // The other test is about to write them.
                script.with_dumps(&in_memory(script)?)?.compare(&dumps, Kernel::NAME)
            } else {
                script.compare(&dumps, Kernel::NAME)
            }
        })
    });
}
