//! One long step: a command that runs behind a spinner, within a time limit.
//!
//! Standard error shows a spinner with the command's last line, or plain lines where it is no
//! terminal. Commands run here get no standard input: they must never ask anything.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader},
    process::{Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

/// How many of a failed command's last lines are shown.
const TAIL: usize = 15;

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Makes Ctrl-C end the command that runs, and xtask only after it has tidied up.
pub(crate) fn catch_interrupt() -> Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&INTERRUPTED))
        .context("cannot handle SIGINT")?;
    Ok(())
}

/// Treats other requests to end, a closed terminal among them, like Ctrl-C. For verbs whose
/// commands these requests do not reach.
pub(crate) fn catch_end() -> Result<()> {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))
            .context("cannot handle SIGTERM and SIGHUP")?;
    }
    Ok(())
}

/// Fails once Ctrl-C was pressed.
pub(crate) fn check_interrupt() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Runs a command to its end and shows `label` meanwhile.
///
/// # Errors
/// When it cannot be started, fails, is interrupted, or takes longer than `limit`. The message
/// ends with the command's last lines.
pub(crate) fn run(label: &str, mut command: Command, limit: Duration) -> Result<()> {
    let started = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = io::pipe()?;
    let mut child = command
        // Its last lines are to say what went wrong.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    // It holds the pipe's other end, which would keep the pipe open.
    drop(command);

    let spinner = spinner(label);
    let followed = follow(&lines(reader), started + limit, &spinner);
    if followed.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    spinner.finish_and_clear();
    check_interrupt()?;
    let tail = followed.with_context(|| format!("{name} took more than {limit:?}"))?;
    if !status.success() {
        bail!("{name}: {status}\n{}", Vec::from(tail).join("\n"));
    }
    eprintln!("{label}: done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Shows each line until the command closes its output. Returns the last ones.
fn follow(
    lines: &Receiver<String>,
    deadline: Instant,
    spinner: &ProgressBar,
) -> Result<VecDeque<String>, RecvTimeoutError> {
    let mut tail = VecDeque::with_capacity(TAIL);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                spinner.set_message(line.trim().to_owned());
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(tail),
            Err(RecvTimeoutError::Timeout) => return Err(RecvTimeoutError::Timeout),
        }
    }
}

/// What comes through a pipe, read on a thread that ends with it. What is not UTF-8 is replaced.
pub(crate) fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn spinner(label: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        eprintln!("{label} ...");
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
        .expect("a valid template");
    let spinner = ProgressBar::new_spinner().with_style(style).with_prefix(label.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_shows_the_last_lines_of_both_outputs() {
        let command = sh("seq 1 100; echo why >&2; exit 3");
        let error = run("counting", command, Duration::from_secs(30)).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("100\nwhy"), "{error}");
        assert!(!error.contains("\n50\n"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_ended_at_its_limit() {
        let started = Instant::now();
        let limit = Duration::from_millis(50);
        let error = run("hanging", sh("exec sleep 60"), limit).unwrap_err();
        assert!(format!("{error:#}").contains("sh took more than 50ms"), "{error:#}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
