//! The machine that runs the tests: one qemu, without a network, a disk or a display.
//!
//! It must never outlive its run: it is ended by its process, whatever happens here, and ends
//! itself when nobody is left to do so.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use crate::step;

pub(super) const QEMU: &str = "qemu-system-x86_64";
/// All that the emulator knows, so that kernels run code of today.
const PROCESSOR: &str = "max";
/// The same without CMPXCHG16B, after which qemu 7.2 with two processors leaves garbage in the flags
/// now and then: Linux 6.12 dies of that. Without it, newer kernels give BPF programs no memory for
/// socket storage (`kmalloc_nolock()` in mm/slub.c), so that every test of it would fail.
const PROCESSOR_OF_6_12: &str = "max,-cx16";
/// `quiet` leaves the console to what goes wrong. A fault in the kernel, which it would survive,
/// must not.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic";
/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(200);
/// How many of the console's last lines are shown.
const TAIL: usize = 60;

/// Boots `kernel`, whose command line ends with `append`, and hands each line of the second serial
/// line to `hear` until that returns `true`, which says that all is told.
///
/// # Errors
/// When the machine ends before that, or takes longer than `limit`, with what its console says; or
/// when it cannot be started at all.
pub(super) fn run(
    kernel: &Kernel,
    append: &str,
    initrd: &Path,
    scratch: &Path,
    limit: Duration,
    mut hear: impl FnMut(&str) -> bool,
) -> Result<()> {
    let console = scratch.join("console");
    let errors = scratch.join("qemu.log");
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(QEMU);
    let of_6_12 = kernel.release.starts_with("6.12");
    let processor = if of_6_12 { PROCESSOR_OF_6_12 } else { PROCESSOR };
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-accel", "tcg,thread=multi", "-cpu", processor, "-smp", "2", "-m", "3G"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initrd)
        .arg("-append")
        .arg(format!("{COMMAND_LINE} {append}"))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(File::create(&errors)?);
    let child = command.spawn().with_context(|| format!("cannot run {QEMU}"))?;
    let _machine = Machine(child);
    // It holds the pipe's other end, which would keep the pipe open.
    drop(command);

    let lines = step::lines(reader);
    let deadline = Instant::now() + limit;
    let why = loop {
        step::check_interrupt()?;
        if Instant::now() >= deadline {
            break format!("it took longer than --limit, {limit:?}");
        }
        match lines.recv_timeout(TICK) {
            Ok(line) if hear(line.trim_end_matches('\r')) => return Ok(()),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break "it stopped".to_owned(),
        }
    };
    // Ctrl-C reaches qemu too.
    step::check_interrupt()?;
    let said = [errors, console].map(|path| tail(&path)).concat();
    let said = if said.is_empty() { "Its console is empty" } else { said.trim_end() };
    bail!("Linux {} did not finish: {why}\n{said}", kernel.release)
}

/// The last lines of a file, if it has any.
fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| format!("  {line}\n")).collect()
}

/// Ends and reaps qemu when the run is over.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both do nothing once it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
