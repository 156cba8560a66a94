//! A case: one system call, again and again, from a cgroup with or without programs.
//!
//! Nothing here may put anything but that call into a time that is recorded.

use std::{rc::Rc, time::Duration};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use lab::latency::Latency;

use super::site::Site;

/// Calls at the start of a batch that only bring caches into the batch's own state.
const WARM_UP: u32 = 20;
/// Calls that send nothing in the time of a connection with a handshake and a greeting, about.
const BARE: u32 = 10;

/// Makes the call once, with everything that has to come before and after it, and returns what the
/// call alone took.
pub(super) type Call = Box<dyn FnMut(&mut Rng) -> Result<Duration>>;
/// Makes the sockets of one batch of calls.
pub(super) type Start = Rc<dyn Fn(&Site) -> Result<Call>>;

/// What a case's calls are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each makes a connection, and takes accordingly long.
    Connection,
    /// Each does what it is for, and is quick.
    Quick,
    /// They end right behind the program, so that only its own time means anything.
    ProgramOnly,
}

/// One row of the results, as far as it has been measured.
pub(super) struct Case {
    pub(super) name: String,
    /// The case without programs that this one is compared with: it has the same calls.
    pub(super) direct: Option<String>,
    site: Rc<Site>,
    hook: &'static str,
    kind: Kind,
    start: Start,
    /// Every call that was timed.
    pub(super) latency: Latency,
    /// The median of each round, in nanoseconds.
    pub(super) medians: Vec<u64>,
    /// The program's nanoseconds per run in each round.
    pub(super) program_ns: Vec<f64>,
    /// Statistics ran although they were off.
    pub(super) disturbed: bool,
}

impl Case {
    pub(super) fn new(
        name: String,
        direct: Option<String>,
        site: &Rc<Site>,
        hook: &'static str,
        kind: Kind,
        start: &Start,
    ) -> Self {
        Self {
            name,
            direct,
            site: Rc::clone(site),
            hook,
            kind,
            start: Rc::clone(start),
            latency: Latency::default(),
            medians: Vec::new(),
            program_ns: Vec::new(),
            disturbed: false,
        }
    }

    /// How many frontends the tables hold, in each family and for each protocol.
    pub(super) fn frontends(&self) -> u32 {
        self.site.frontends
    }

    /// Times this many calls, if the time of the whole call means anything.
    pub(super) fn time(&mut self, calls: u32, rng: &mut Rng) -> Result<()> {
        if self.kind == Kind::ProgramOnly {
            return Ok(());
        }
        let before = self.runs()?;
        let mut call = self.begin(rng)?;
        let mut latency = Latency::default();
        for _ in 0..calls {
            latency.record(call(rng).with_context(|| self.name.clone())?);
        }
        drop(call);
        self.medians.push(latency.quantile_ns(0.5));
        self.latency.merge(&latency);
        self.disturbed |= self.runs()? != before;
        Ok(())
    }

    /// Measures the program over this many calls, or over more that are quick. The kernel's
    /// statistics must be on.
    pub(super) fn count(&mut self, calls: u32, rng: &mut Rng) -> Result<()> {
        let calls = if self.kind == Kind::Connection { calls } else { calls * BARE };
        let mut call = self.begin(rng)?;
        let Some((runs_before, time_before)) = self.site.statistics(self.hook)? else {
            return Ok(());
        };
        for _ in 0..calls {
            call(rng).with_context(|| self.name.clone())?;
        }
        drop(call);
        let after = self.site.statistics(self.hook)?;
        let (runs, time) = after.context("the programs are gone")?;
        let runs = runs - runs_before;
        ensure!(
            runs == u64::from(calls),
            "{}: {calls} calls, but {} ran {runs} times",
            self.name,
            self.hook
        );
        self.program_ns.push((time - time_before).as_nanos() as f64 / runs as f64);
        Ok(())
    }

    /// Makes sockets in the case's cgroup, and the first calls.
    fn begin(&self, rng: &mut Rng) -> Result<Call> {
        self.site.enter()?;
        let mut call = (self.start)(&self.site).with_context(|| self.name.clone())?;
        for _ in 0..WARM_UP {
            call(rng).with_context(|| self.name.clone())?;
        }
        Ok(call)
    }

    fn runs(&self) -> Result<u64> {
        Ok(self.site.statistics(self.hook)?.map_or(0, |(runs, _)| runs))
    }
}
