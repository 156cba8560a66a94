//! Connects while the set of backends changes as fast as the agent can publish.
//!
//! One thread changes EndpointSlices and runs them through the agent's model and publisher; others
//! connect and learn from the listener whom they reached. A connect that fails, or that reaches a
//! backend which was in no set published between its start and its end, is counted. Listeners
//! live throughout, so only the balancer can make a connect fail. Beside it, Services come and go,
//! so that blocks, slots and hash elements are reused all the time. What this cannot see, such as a
//! block that is reused too early by the same Service, the interleaving tests of the agent do.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_userspace::{
    agent::Core,
    publish::{Grace, Sizes, Stats, Store},
    source::Event,
};
use serde::Serialize;

use crate::{Lab, client, objects, plane::Plane, pod::Pod, server::Server};

/// Pods that the steady Service chooses from, by one bit each.
const PODS: u8 = 32;
/// Services that come and go, each with a Pod port of its own.
const GUESTS: u8 = 8;
/// Publications that a connect can look back on. More happen in no connect.
const REMEMBERED: usize = 1 << 20;
const CONNECTORS: u64 = 2;
const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 80);
const POD_PORT: u16 = 8080;
/// A guest's backends tell their number above this.
const GUEST: u16 = 1000;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Report {
    /// Ranges that were published.
    pub publishes: u64,
    /// Connects, both to the steady Service and to those that come and go.
    pub connects: u64,
    /// Connects that failed, although their Service was there throughout.
    pub failures: u64,
    /// Connects that reached a backend outside of every set published meanwhile.
    pub wrong_backends: u64,
    /// How long it went on.
    pub seconds: f64,
    /// Connects that reached a Service that comes and goes, while it was there.
    pub guests: u64,
    /// Publications that waited for a grace period, since the limbo held all that was free.
    pub waits: u64,
    /// Grace periods that ended.
    pub grace_periods: u64,
}

/// Which sets were published when. A set is a word with a bit for each Pod.
struct Log {
    sets: Vec<AtomicU64>,
    /// The last publication that has started, and the last that has ended.
    started: AtomicU64,
    ended: AtomicU64,
}

impl Log {
    fn new() -> Self {
        let sets = (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect();
        Self { sets, started: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    fn publish<R>(&self, number: u64, set: u64, publish: impl FnOnce() -> R) -> R {
        self.sets[number as usize % REMEMBERED].store(set, Ordering::Relaxed);
        self.started.store(number, Ordering::Release);
        let result = publish();
        self.ended.store(number, Ordering::Release);
        result
    }

    /// Every backend of a set that was in force at some time since `first` had ended.
    fn union_since(&self, first: u64) -> u64 {
        let last = self.started.load(Ordering::Acquire);
        assert!(last - first < REMEMBERED as u64, "a connect outlasted the log of publications");
        (first..=last)
            .map(|number| self.sets[number as usize % REMEMBERED].load(Ordering::Relaxed))
            .fold(0, |union, set| union | set)
    }
}

/// Runs for `duration`, with tables of so many backends; fewer make publishing wait more often.
/// `tick` is called about once a second with the seconds that have passed.
///
/// # Errors
/// When the experiment cannot be set up, or the publisher fails. Wrong connects are no error.
pub fn run(
    lab: &Lab,
    duration: Duration,
    backends: u32,
    tick: impl Fn(u64) + Send,
) -> Result<Report> {
    let pods: Vec<Pod> = (0..PODS).map(|index| lab.pod(index)).collect::<Result<_>>()?;
    let _servers = (0..).zip(&pods).map(serve).collect::<Result<Vec<Server>>>()?;
    let mut plane = Plane::new(Sizes::new(64, backends))?;
    plane.attach(lab.cgroup())?;
    let (_force, mut core) = plane.into_core();
    let log = Log::new();
    core.apply(objects::service("steady", *VIP.ip(), VIP.port()));
    core.apply(Event::Synced);
    log.publish(0, 1, || apply(&mut core, [slice_of(1)]))?;

    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let (stats, counts) = thread::scope(|scope| {
        let connectors: Vec<_> = (0..CONNECTORS)
            .map(|index| {
                let (log, stop) = (&log, &stop);
                scope.spawn(move || connect(log, stop, Random(index + 2)))
            })
            .collect();
        let stats = {
            let _stop = StopOnDrop(&stop);
            change(&mut core, &log, duration, tick)
        };
        let counts: Vec<Report> = connectors
            .into_iter()
            .map(|connector| connector.join().expect("a connector does not panic"))
            .collect();
        (stats, counts)
    });
    let stats = stats?;
    let sum = |field: fn(&Report) -> u64| counts.iter().map(field).sum();
    Ok(Report {
        publishes: stats.publishes,
        connects: sum(|report| report.connects),
        failures: sum(|report| report.failures),
        wrong_backends: sum(|report| report.wrong_backends),
        guests: sum(|report| report.guests),
        seconds: began.elapsed().as_secs_f64(),
        waits: stats.waits,
        grace_periods: stats.grace_periods,
    })
}

/// Ends the connectors, also when the writer panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A Pod's listeners: one for the steady Service and one for each that comes and goes.
fn serve((index, pod): (u16, &Pod)) -> Result<Server> {
    let guests = (0..u16::from(GUESTS)).map(|guest| (guest_port(guest), GUEST + guest));
    pod.serve(std::iter::once((POD_PORT, index)).chain(guests))
}

fn guest_port(guest: u16) -> u16 {
    9000 + guest
}

fn guest_vip(guest: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 96, 1, guest), 80)
}

fn pod_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, 10 + index)
}

fn slice_of(set: u64) -> Event {
    let members = (0..PODS).filter(|index| set >> index & 1 == 1);
    objects::slice("steady", members.map(pod_address), POD_PORT)
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

/// Publishes one set after the other, and every few of them lets a guest come or go.
fn change<S: Store, G: Grace>(
    core: &mut Core<S, G>,
    log: &Log,
    duration: Duration,
    tick: impl Fn(u64),
) -> Result<Stats> {
    let mut random = Random(1);
    let mut present = [false; GUESTS as usize];
    let (began, mut number, mut ticked) = (Instant::now(), 0u64, 0);
    while began.elapsed() < duration {
        number += 1;
        // About four of them: if half were in each set, hardly any backend would be a wrong one.
        let set = random.next() & random.next() & random.next() & ((1 << PODS) - 1);
        let set = if set == 0 { 1 } else { set };
        log.publish(number, set, || apply(core, [slice_of(set)]))?;
        if number % 4 == 0 {
            let guest = (random.next() % u64::from(GUESTS)) as u8;
            let here = &mut present[usize::from(guest)];
            apply(core, change_guest(guest, *here))?;
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

fn change_guest(guest: u8, present: bool) -> Vec<Event> {
    let (name, vip) = (format!("guest-{guest}"), guest_vip(guest));
    if present {
        return vec![objects::delete_service(&name)];
    }
    let pods = (0..PODS).filter(|index| index % GUESTS == guest).map(pod_address);
    vec![
        objects::slice(&name, pods, guest_port(guest.into())),
        objects::service(&name, *vip.ip(), vip.port()),
    ]
}

/// Connects until told to stop, and judges each connect.
fn connect(log: &Log, stop: &AtomicBool, mut random: Random) -> Report {
    let mut report = Report::default();
    while !stop.load(Ordering::Relaxed) {
        report.connects += 1;
        let judged = if report.connects % 4 == 0 {
            to_a_guest((random.next() % u64::from(GUESTS)) as u8, &mut report.guests)
        } else {
            to_the_steady_one(log)
        };
        match judged {
            Ok(true) => {}
            Ok(false) => report.wrong_backends += 1,
            Err(error) => {
                // The first few tell enough.
                if report.failures < 3 {
                    eprintln!("a connect failed: {error}");
                }
                report.failures += 1;
            }
        }
    }
    report
}

/// Whether the backend was in a set that was in force meanwhile.
fn to_the_steady_one(log: &Log) -> io::Result<bool> {
    let first = log.ended.load(Ordering::Acquire);
    let connection = client::connect(VIP, client::TIMEOUT)?;
    let union = log.union_since(first);
    let identity = connection.identity()?;
    Ok(identity < u16::from(PODS) && union >> identity & 1 == 1)
}

/// Whether the connect reached this guest's own backends, or none because the guest is away: then
/// the address is no frontend, and there is no route to it.
fn to_a_guest(guest: u8, met: &mut u64) -> io::Result<bool> {
    match client::connect(guest_vip(guest), client::TIMEOUT) {
        Ok(connection) => {
            *met += 1;
            Ok(connection.identity()? == GUEST + u16::from(guest))
        }
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Ok(true),
        Err(error) => Err(error),
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sets_in_force_meanwhile_are_allowed() {
        let log = Log::new();
        log.publish(0, 0b001, || ());
        log.publish(1, 0b010, || ());
        let first = log.ended.load(Ordering::Acquire);
        assert_eq!(log.union_since(first), 0b010, "what was superseded before does not count");
        // A publication that is under way counts, since a connect may see it or not yet.
        log.publish(2, 0b100, || assert_eq!(log.union_since(first), 0b110));
        assert_eq!(log.union_since(log.ended.load(Ordering::Acquire)), 0b100);
    }
}
