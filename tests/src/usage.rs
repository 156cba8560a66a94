//! What a process needs: memory and processor time, as the kernel says.
//!
//! A line that the kernel does not give must never count as 0.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// What a process has needed so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The most memory that was resident at once, in bytes (`VmHWM`).
    pub peak_rss: u64,
    /// Resident memory in bytes (`VmRSS`).
    pub rss: u64,
    /// Of that, what is no file's and no map's (`RssAnon`).
    pub anonymous: u64,
    /// Processor time, its own and the kernel's for it.
    pub processor: Duration,
}

impl Usage {
    /// Reads it from `/proc`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("cannot read the status of process {pid}"))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches(" kB");
            Ok(kib.parse::<u64>().with_context(|| format!("{name} {kib}"))? * 1024)
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name, which may hold anything: the state is the first field, utime and stime
        // the 12th and 13th (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(") ").context("no end of the name")?;
        let ticks = |index| -> Result<u64> {
            Ok(fields.split(' ').nth(index).context("too few fields")?.parse()?)
        };
        let ticks = (ticks(11)? + ticks(12)?) as f64;
        Ok(Self {
            peak_rss: bytes("VmHWM:")?,
            rss: bytes("VmRSS:")?,
            anonymous: bytes("RssAnon:")?,
            processor: Duration::from_secs_f64(ticks / clock_ticks_per_second() as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let before = Usage::of(std::process::id()).unwrap();
        assert!(before.anonymous > 0 && before.rss >= before.anonymous);
        assert!(before.peak_rss >= before.rss);
        let start = Instant::now();
        while Usage::of(std::process::id()).unwrap().processor == before.processor {
            assert!(start.elapsed() < Duration::from_secs(60), "no time passes");
        }
    }
}
