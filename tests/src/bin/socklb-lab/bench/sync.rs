//! `bench sync`: how long a whole cluster takes from typed objects to the kernel's tables, and how
//! long one changed endpoint.
//!
//! The objects are made one Service at a time, outside of the timed parts: what is measured is the
//! agent, not a parser or a server. Kernel-visible means that the range's store has retired: the
//! next connect sees it.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lab::{latency::Latency, objects, plane::Plane, port::Port, usage::Usage};
use lb_userspace::{
    agent::Core,
    model::Protocol,
    publish::{Grace, Publisher, Sizes, Store},
    source::Event,
};
use serde::Serialize;

use super::progress;
use crate::confined;

/// Where every endpoint listens.
const PORT: u16 = 8080;

/// From typed objects in memory to published: a whole cluster, then one endpoint at a time.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Services
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    services: u32,
    /// Endpoints of each Service
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(2..=1_000))]
    endpoints: u32,
    /// Single changes after that, one endpoint each
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    changes: u32,
    /// Changes per second; the limbo's budget must sustain it
    #[arg(long, value_name = "N", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Summary {
    services: u32,
    backends: u64,
    /// Model and publication of everything, milliseconds.
    total_ms: f64,
    /// The same per Service, microseconds.
    service_us: f64,
    /// Anonymous memory: the agent without the mapped tables.
    agent_rss_bytes: u64,
    /// All resident memory, with the mapped tables.
    agent_rss_with_tables_bytes: u64,
    /// The maps, in the kernel.
    bpf_bytes: u64,
    changes: u32,
    change_p50_ns: u64,
    change_p99_ns: u64,
    change_max_ns: u64,
    /// Times that a change waited for a grace period, at the chosen rate.
    change_waits: u64,
    /// Changes per second as fast as model and publisher can.
    changes_per_second: f64,
    /// Times that one of those waited.
    changes_per_second_waits: u64,
    /// Sets per second as fast as the publisher alone can. With waits: the rate at which the limbo
    /// holds all the room there is, and publishing waits for grace periods.
    publishes_per_second: f64,
    /// Times that one of those waited.
    publishes_per_second_waits: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    // No experiment's namespace is needed, but nothing may be left behind either.
    confined::run(Some(Duration::from_secs(600)), |_| {
        let summary = measure(arguments)?;
        if arguments.json {
            println!("{}", serde_json::to_string(&summary)?);
        } else {
            eprintln!("{summary:#?}");
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn measure(arguments: &Arguments) -> Result<Summary> {
    let backends = arguments.services * arguments.endpoints;
    // A quarter more than is used, as an operator would size them.
    let sizes = Sizes::new(arguments.services * 5 / 4, backends / 4 * 5);
    let plane = Plane::new(sizes)?;
    let (force, mut core) = plane.into_core();

    let total = load(&mut core, arguments)?;
    let usage = Usage::of(std::process::id())?;
    // Names take memory as they come.
    let bpf_bytes = force.object.memory()?;
    let before = core.publisher().stats();
    ensure!(before.backends == u64::from(backends), "{before:?}");

    let latency = change_at_rate(&mut core, arguments)?;
    let at_rate = core.publisher().stats();
    let changes_per_second = change_flat_out(&mut core, arguments)?;
    let flat_out = core.publisher().stats();
    let publishes_per_second = publish_flat_out(core.publisher(), arguments)?;
    let published = core.publisher().stats();
    Ok(Summary {
        services: arguments.services,
        backends: backends.into(),
        total_ms: total.as_secs_f64() * 1e3,
        service_us: total.as_secs_f64() * 1e6 / f64::from(arguments.services),
        agent_rss_bytes: usage.anonymous,
        agent_rss_with_tables_bytes: usage.rss,
        bpf_bytes,
        changes: arguments.changes,
        change_p50_ns: latency.quantile_ns(0.5),
        change_p99_ns: latency.quantile_ns(0.99),
        change_max_ns: latency.quantile_ns(1.0),
        change_waits: at_rate.waits - before.waits,
        changes_per_second,
        changes_per_second_waits: flat_out.waits - at_rate.waits,
        publishes_per_second,
        publishes_per_second_waits: published.waits - flat_out.waits,
    })
}

/// Takes in every Service and publishes them at once. Returns the time that the agent's code took.
fn load<S: Store, G: Grace>(core: &mut Core<S, G>, arguments: &Arguments) -> Result<Duration> {
    let bar = progress(arguments.services.into(), "loading");
    let mut took = Duration::ZERO;
    for number in 0..arguments.services {
        let events = [service(number), slice(number, arguments.endpoints, 0)];
        let start = Instant::now();
        for event in events {
            core.apply(event);
        }
        took += start.elapsed();
        bar.inc(1);
    }
    let start = Instant::now();
    core.apply(Event::Synced);
    let outcome = core.publish()?;
    took += start.elapsed();
    bar.finish_and_clear();
    ensure!(outcome.failures.is_empty(), "not published: {}", outcome.failures[0].source);
    Ok(took)
}

/// Changes one endpoint after the other, evenly spaced, and times each from event to store.
fn change_at_rate<S: Store, G: Grace>(
    core: &mut Core<S, G>,
    arguments: &Arguments,
) -> Result<Latency> {
    let bar = progress(arguments.changes.into(), "changing");
    let period = Duration::from_secs(1) / arguments.rate;
    let mut latency = Latency::default();
    let began = Instant::now();
    for number in 0..arguments.changes {
        let event = changed(number, arguments);
        while began.elapsed() < period * number {
            // What the owner does when a grace period's end wakes it.
            core.publisher().maintain(false)?;
            std::thread::sleep(period.min(Duration::from_micros(50)));
        }
        let start = Instant::now();
        core.apply(event);
        let outcome = core.publish()?;
        latency.record(start.elapsed());
        ensure!(outcome.changed == 1 && outcome.failures.is_empty(), "{outcome:?}");
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(latency)
}

/// The same as fast as the agent can. Returns changes per second, without making the objects.
fn change_flat_out<S: Store, G: Grace>(
    core: &mut Core<S, G>,
    arguments: &Arguments,
) -> Result<f64> {
    let mut took = Duration::ZERO;
    for number in 0..arguments.changes {
        let event = changed(arguments.changes + number, arguments);
        let start = Instant::now();
        core.apply(event);
        let outcome = core.publish()?;
        took += start.elapsed();
        ensure!(outcome.failures.is_empty(), "not published: {}", outcome.failures[0].source);
    }
    Ok(f64::from(arguments.changes) / took.as_secs_f64())
}

/// Sets with one backend changed, straight to the publisher. Returns sets per second.
fn publish_flat_out<S: Store, G: Grace>(
    publisher: &mut Publisher<S, G>,
    arguments: &Arguments,
) -> Result<f64> {
    let mut took = Duration::ZERO;
    let count = arguments.changes * 5;
    for number in 0..count {
        let (service, round) = (scattered(number, arguments), 64 + number / arguments.services);
        let backends = addresses(service, arguments.endpoints, round)
            .map(|address| SocketAddrV4::new(address, PORT));
        let port = Port::tcp(&format!("lab/{}:http", name(service)))
            .at([SocketAddrV4::new(vip(service), 80)])
            .to(backends);
        let changes: Vec<_> = port.changes().collect();
        let start = Instant::now();
        let failures = publisher.apply(changes)?;
        took += start.elapsed();
        ensure!(failures.is_empty(), "not published: {}", failures[0].source);
    }
    Ok(f64::from(count) / took.as_secs_f64())
}

/// The slice of some Service with one endpoint that it did not have before.
fn changed(number: u32, arguments: &Arguments) -> Event {
    slice(scattered(number, arguments), arguments.endpoints, number / arguments.services + 1)
}

/// A Service, by a stride that meets every one before it meets one again.
fn scattered(number: u32, arguments: &Arguments) -> u32 {
    (u64::from(number) * 7_919 % u64::from(arguments.services)) as u32
}

fn service(number: u32) -> Event {
    objects::service(&name(number), vip(number), Protocol::Tcp, 80)
}

fn vip(number: u32) -> Ipv4Addr {
    let [_, high, middle, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 96 + high, middle, low)
}

fn name(number: u32) -> String {
    format!("service-{number}")
}

fn slice(service: u32, endpoints: u32, round: u32) -> Event {
    objects::slice(&name(service), addresses(service, endpoints, round), Protocol::Tcp, PORT)
}

/// The endpoints of a Service. Each round but 0 has another one in the first one's place.
fn addresses(service: u32, endpoints: u32, round: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..endpoints).map(move |number| {
        let [_, a, b, c] = (service * endpoints + number).to_be_bytes();
        let network = if number == 0 && round > 0 { 64 + (round % 64) as u8 } else { 0 };
        Ipv4Addr::new(10, a + network, b, c)
    })
}
