//! Connects and datagrams while the set of backends changes as fast as the agent can publish.
//!
//! One thread changes EndpointSlices and runs them through the agent's model and publisher; others
//! connect or send, and learn from the server whom they reached. A client that fails, or that
//! reaches a backend which was in no set published between its start and its end, is counted.
//! Servers live throughout, so only the balancer can make a client fail. Beside it, Services come
//! and go, so that blocks, slots and hash elements are reused all the time. What this cannot see,
//! such as a block that is reused too early by the same Service, the interleaving tests of the agent
//! do.

mod client;
mod line;
mod log;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_userspace::{
    agent::Core,
    model::Protocol,
    publish::{Grace, Sizes, Stats, Store},
    source::Event,
};
use serde::Serialize;

pub use self::line::{Line, TCP4, all};
use self::{
    client::{Client, Counts},
    log::Log,
};
use crate::{Lab, plane::Plane, pod::Pod, server::Server};

/// Pods that the steady Services choose from, by one bit each.
const PODS: u8 = 32;
/// Services that come and go, each with a Pod port of its own.
const GUESTS: u8 = 8;
const CLIENTS: u64 = 2;
/// A guest's backends tell their number above this.
const GUEST: u16 = 1000;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Report {
    /// Ranges that were published.
    pub publishes: u64,
    /// Connects over TCP, both to the steady Services and to those that come and go.
    pub connects: u64,
    /// Datagrams, likewise.
    pub datagrams: u64,
    /// Connects that failed and datagrams without answer, although their Service was there
    /// throughout.
    pub failures: u64,
    /// Connects and datagrams that reached a backend outside of every set published meanwhile.
    pub wrong_backends: u64,
    /// How long it went on.
    pub seconds: f64,
    /// Those that reached a Service that comes and goes, while it was there.
    pub guests: u64,
    /// Publications that waited for a grace period, since the limbo held all that was free.
    pub waits: u64,
    /// Grace periods that ended.
    pub grace_periods: u64,
}

/// Runs for `duration`, and then on until what was seen is `enough`, with steady Services and guests of
/// these `lines`, and tables of so many backends; fewer make publishing wait more often. `tick` is
/// called about once a second with the seconds that have passed.
///
/// # Errors
/// When the experiment cannot be set up, or the publisher fails. Wrong connects are no error.
pub fn run(
    lab: &Lab,
    lines: &[Line],
    duration: Duration,
    enough: impl Fn(&Report) -> bool,
    backends: u32,
    tick: impl Fn(u64),
) -> Result<Report> {
    let pods: Vec<Pod> = (0..PODS).map(|index| lab.pod(index)).collect::<Result<_>>()?;
    let servers = (0..).zip(&pods).map(|(index, pod)| serve(lines, index, pod));
    let _servers = servers.collect::<Result<Vec<_>>>()?;
    let mut plane = Plane::new(Sizes::new(64, backends))?;
    plane.attach(lab.cgroup())?;
    let (_force, mut core) = plane.into_core();
    let log = Log::new();
    lines.iter().for_each(|line| core.apply(line.steady()));
    core.apply(Event::Synced);
    log.publish(0, 1, || apply(&mut core, slices(lines, 1)))?;

    let (stop, counts) = (AtomicBool::new(false), Counts::default());
    let began = Instant::now();
    let report = |stats| Report::new(&counts, stats, began.elapsed());
    let stats = thread::scope(|scope| {
        for index in 0..CLIENTS {
            let client = Client::new(&log, lines, &counts, Random(index + 2));
            let stop = &stop;
            scope.spawn(move || client.run(stop));
        }
        let _stop = StopOnDrop(&stop);
        let done = |stats| began.elapsed() >= duration && enough(&report(stats));
        change(&mut core, lines, &log, done, tick)
    })?;
    Ok(report(stats))
}

impl Report {
    fn new(counts: &Counts, stats: Stats, took: Duration) -> Self {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            publishes: stats.publishes,
            connects: read(&counts.connects),
            datagrams: read(&counts.datagrams),
            failures: read(&counts.failures),
            wrong_backends: read(&counts.wrong_backends),
            seconds: took.as_secs_f64(),
            guests: read(&counts.guests),
            waits: stats.waits,
            grace_periods: stats.grace_periods,
        }
    }
}

/// Ends the clients, also when the writer panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A Pod's servers: of each protocol one for the steady Services, and one for each that comes and
/// goes. More would be more descriptors than a process may have as a rule.
fn serve(lines: &[Line], index: u16, pod: &Pod) -> Result<[Server; 2]> {
    let ports = |protocol| {
        let guests =
            (0..GUESTS).filter(move |&guest| guest_line(lines, guest).protocol == protocol);
        let guests = guests.map(u16::from);
        let guests = guests.map(|guest| (line::guest_port(guest), GUEST + guest));
        std::iter::once((line::POD_PORT, index)).chain(guests)
    };
    Ok([pod.serve(ports(Protocol::Tcp))?, pod.serve_udp(ports(Protocol::Udp))?])
}

/// The line that a guest belongs to.
fn guest_line(lines: &[Line], guest: u8) -> Line {
    lines[usize::from(guest) % lines.len()]
}

fn slices(lines: &[Line], set: u64) -> impl Iterator<Item = Event> {
    lines.iter().map(move |line| line.slice(set))
}

fn apply<S: Store, G: Grace>(
    core: &mut Core<S, G>,
    events: impl IntoIterator<Item = Event>,
) -> Result<()> {
    events.into_iter().for_each(|event| core.apply(event));
    let outcome = core.publish()?;
    ensure!(outcome.failures.is_empty(), "not published: {}", outcome.failures[0].source);
    Ok(())
}

/// Publishes one set after the other, and every few of them lets a guest come or go, until `done` says so.
fn change<S: Store, G: Grace>(
    core: &mut Core<S, G>,
    lines: &[Line],
    log: &Log,
    done: impl Fn(Stats) -> bool,
    tick: impl Fn(u64),
) -> Result<Stats> {
    let mut random = Random(1);
    let mut present = [false; GUESTS as usize];
    let (began, mut number, mut ticked) = (Instant::now(), 0u64, 0);
    while !done(core.publisher().stats()) {
        number += 1;
        // About four of them: if half were in each set, hardly any backend would be a wrong one.
        let set = random.next() & random.next() & random.next() & ((1 << PODS) - 1);
        let set = if set == 0 { 1 } else { set };
        log.publish(number, set, || apply(core, slices(lines, set)))?;
        if number % 4 == 0 {
            let guest = random.below(GUESTS.into()) as u8;
            let line = guest_line(lines, guest);
            let here = &mut present[usize::from(guest)];
            apply(core, line.change_guest(guest, *here))?;
            *here = !*here;
        }
        // As the agent does when it is woken, and now and then as when it is idle, which deletes
        // the keys of the guests that left.
        let failures = core.publisher().maintain(number % 64 == 0)?;
        ensure!(failures.is_empty(), "not published: {}", failures[0].source);
        if began.elapsed().as_secs() > ticked {
            ticked = began.elapsed().as_secs();
            tick(ticked);
        }
    }
    Ok(core.publisher().stats())
}

/// Xorshift: a sequence that is the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
