//! What the guest holds: the project's programs at their own paths, this machine's clients and
//! servers, busybox for the rest, and the kernel's modules.
//!
//! It must never depend on what else is on this machine: what is not listed here is not there.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{initrd::Initrd, modules::Module, payload::Payload};
use crate::{setup::test_tools, workspace::Workspace};

const INIT: &str = include_str!("init.sh");
/// Users that servers change to.
const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n\
                      www-data:x:33:33::/:/bin/sh\ndnsmasq:x:999:65534::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\nnobody:x:65533:\nwww-data:x:33:\ndip:x:30:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// What the golden tests run, in the workspace.
const SCRIPTS: &str = "tests/golden";

/// What is the same for every kernel.
pub(super) struct Contents<'a> {
    payload: &'a Payload,
    /// Each of the project's programs: a copy without debug information, and the path to lie at.
    programs: Vec<(PathBuf, &'a Path)>,
    /// Files that tests read, and the paths to lie at.
    scripts: Vec<(PathBuf, Vec<u8>)>,
    tools: Vec<PathBuf>,
    busybox: PathBuf,
}

impl<'a> Contents<'a> {
    /// Finds everything. Copies go to `scratch`.
    pub(super) fn collect(
        workspace: &Workspace,
        payload: &'a Payload,
        scratch: &Path,
    ) -> Result<Self> {
        let folder = scratch.join("programs");
        fs::create_dir(&folder)?;
        let tests = payload.tests.iter().map(|program| &program.path);
        let programs = tests.chain(&payload.programs).enumerate().map(|(number, program)| {
            (strip(program, folder.join(number.to_string())), program.as_path())
        });
        let tools = test_tools::ALL.iter().filter(|tool| tool.called_by_tests);
        Ok(Self {
            payload,
            programs: programs.collect(),
            scripts: files(&workspace.root().join(SCRIPTS))?,
            tools: tools.filter_map(test_tools::Tool::find).collect(),
            busybox: test_tools::find("busybox").context("busybox is missing")?,
        })
    }

    /// Writes the root file system of a guest that loads `modules` and ends itself after `limit`.
    pub(super) fn write(&self, path: &Path, modules: &[Module], limit: Duration) -> Result<()> {
        let mut initrd = Initrd::create(path)?;
        initrd.device(Path::new("/dev/console"), 5, 1)?;
        initrd.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
        let mut text = |path: &str, text: &str| {
            initrd.file(&Path::new("/").join(path), 0o644, text.as_bytes())
        };
        text("etc/passwd", PASSWD)?;
        text("etc/group", GROUP)?;
        text("etc/hosts", HOSTS)?;
        // For tests to put one of their own in its place.
        text("etc/resolv.conf", "")?;
        text("socklb/limit", &limit.as_secs().to_string())?;
        let agent = self.payload.program("socklb").context("there is no agent")?;
        text("socklb/agent", &agent.to_string_lossy())?;

        let mut plan = String::new();
        for program in &self.payload.tests {
            plan += &format!("{} {}\n", program.name, program.path.display());
            text(&format!("socklb/tests/{}", program.name), &lines(&program.tests))?;
        }
        text("socklb/plan", &plan)?;
        let names: Vec<String> = modules.iter().map(|module| module.name.clone()).collect();
        text("socklb/modules/order", &lines(&names))?;
        for module in modules {
            let path = format!("/socklb/modules/{}.ko", module.name);
            initrd.file(Path::new(&path), 0o644, &module.bytes)?;
        }

        initrd.program(&self.busybox, Path::new("/usr/bin/busybox"))?;
        for tool in &self.tools {
            initrd.program(tool, tool)?;
        }
        for (copy, path) in &self.programs {
            initrd.program(copy, path)?;
        }
        for (path, bytes) in &self.scripts {
            initrd.file(path, 0o644, bytes)?;
        }
        // Where libraries lie that are in none of the loader's own folders.
        if let Ok(cache) = fs::read("/etc/ld.so.cache") {
            initrd.file(Path::new("/etc/ld.so.cache"), 0o644, &cache)?;
        }
        initrd.finish()
    }
}

/// The files of a folder.
fn files(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let read = || {
        fs::read_dir(folder)?
            .map(|entry| {
                let path = entry?.path();
                let bytes = fs::read(&path)?;
                Ok((path, bytes))
            })
            .collect::<io::Result<_>>()
    };
    read().with_context(|| format!("cannot read {}", folder.display()))
}

fn lines(words: &[String]) -> String {
    words.iter().map(|word| format!("{word}\n")).collect()
}

/// Makes a copy of `program` that fits a small machine. Without a tool to do so the program itself
/// has to fit.
fn strip(program: &Path, copy: PathBuf) -> PathBuf {
    let mut command = Command::new("strip");
    command.arg("--strip-debug").arg("-o").args([&copy, program]).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) { copy } else { program.to_owned() }
}
