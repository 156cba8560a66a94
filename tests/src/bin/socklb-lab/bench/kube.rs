//! `bench kube`: the agent as it runs in a cluster, against an API server's double in this process:
//! how long it takes to be ready, what it needs, and how long a change takes.
//!
//! The agent is the binary that users run, and its needs are what the kernel says of its process. A
//! change is timed from the moment that the double has handed it to its watches until the slot's
//! range in `lb_services` is another one: with the double's encryption, the loopback, and the agent's
//! parser. The table is looked at every 20 µs and the lateness of a timer, about 70 µs in all.

mod objects;

use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Array, HashMap, Map, MapData};
use k8s_openapi::api::core::v1::Node;
use lab::{
    Lab,
    apiserver::{ApiServer, Double, Options},
    cluster::{Cluster, NODE},
    latency::Latency,
    usage::Usage,
};
use lb_common::{FrontendKey4, FrontendValue, Range};
use serde::Serialize;
use serde_json::json;

use self::objects::{name, service, slice, vip};
use super::progress;
use crate::confined;

/// How long a change may take before it is counted as lost.
const LOST: Duration = Duration::from_secs(5);
/// Between two looks at the table. Every latency may be so much too long, and as much more as a timer
/// is late.
const TICK: Duration = Duration::from_micros(20);
/// How long the agent may go on with what its start left to do.
const CALM: Duration = Duration::from_secs(3);

/// The agent against an API server: from its start to ready, then one changed slice after the other.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Services
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    services: u32,
    /// Endpoints of each Service, in one slice
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(2..=1_000))]
    endpoints: u32,
    /// Changes per second after that, one endpoint of one slice each
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long, in seconds
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Let the server refuse to stream lists, so that they are read in pages
    #[arg(long)]
    paged: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Summary {
    services: u32,
    backends: u32,
    /// From the start of the agent's process to its READY=1, milliseconds.
    ready_ms: f64,
    /// The most memory that was resident, with the mapped tables.
    peak_rss_bytes: u64,
    /// Resident memory before the changes, with the mapped tables.
    rss_bytes: u64,
    /// The same without them: anonymous memory.
    rss_anon_bytes: u64,
    /// Processor time until ready and calm, seconds.
    agent_cpu_s: f64,
    changes: u32,
    /// From the server's hand to the kernel's table, microseconds.
    change_p50_us: f64,
    change_p99_us: f64,
    change_max_us: f64,
    /// Processor time of the agent while changes came, as a part of one core.
    cpu_share: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let limit = Duration::from_secs(u64::from(arguments.seconds) + 300);
    confined::run(Some(limit), |lab| {
        let summary = measure(lab, arguments)?;
        if arguments.json {
            println!("{}", serde_json::to_string(&summary)?);
        } else {
            eprintln!("{summary:#?}");
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Summary> {
    let guard = std::env::current_exe()?;
    let options = Options {
        service_cidrs: vec!["10.96.0.0/12".parse()?],
        streaming_lists: !arguments.paged,
        ..Options::default()
    };
    let server = ApiServer::Double(Double::start(options)?.into());
    let cluster = Cluster::new(lab, &guard, server)?;
    load(cluster.double(), arguments)?;

    let backends = arguments.services * arguments.endpoints;
    // A quarter more than is used, as an operator would size them.
    let sizes = [arguments.services * 5 / 4 + 16, backends / 4 * 5].map(|size| size.to_string());
    let flags = ["--max-frontends", &sizes[0], "--max-backends", &sizes[1], "--log", "error"];
    let start = Instant::now();
    let agent = cluster.start(&flags)?;
    let ready = start.elapsed();
    thread::sleep(CALM);
    let started = Usage::of(agent.pid())?;
    let tables = Tables::open(cluster.pins(), arguments)?;

    let (latency, took) = change(cluster.double(), &tables, arguments)?;
    let ended = Usage::of(agent.pid())?;
    let lines = agent.new_lines();
    ensure!(lines.is_empty(), "the agent has something to say:\n{}", lines.join("\n"));
    let us = |part| latency.quantile_ns(part) as f64 / 1e3;
    Ok(Summary {
        services: arguments.services,
        backends,
        ready_ms: ready.as_secs_f64() * 1e3,
        peak_rss_bytes: ended.peak_rss,
        rss_bytes: started.rss,
        rss_anon_bytes: started.anonymous,
        agent_cpu_s: started.processor.as_secs_f64(),
        changes: arguments.rate * arguments.seconds,
        change_p50_us: us(0.5),
        change_p99_us: us(0.99),
        change_max_us: us(1.0),
        cpu_share: (ended.processor - started.processor).as_secs_f64() / took.as_secs_f64(),
    })
}

fn load(server: &Double, arguments: &Arguments) -> Result<()> {
    server.apply::<Node>(serde_json::from_value(json!({"metadata": {"name": NODE}}))?)?;
    let bar = progress(arguments.services.into(), "storing");
    for number in 0..arguments.services {
        server.apply(service(number)?)?;
        server.apply(slice(number, arguments.endpoints, 0)?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The table in which changes show.
struct Tables {
    services: Array<MapData, lb_common::Service>,
    /// Of each Service.
    slots: Vec<u32>,
}

impl Tables {
    fn open(pins: &Path, arguments: &Arguments) -> Result<Self> {
        let map = |name| MapData::from_pin(pins.join(name));
        let frontends: HashMap<_, FrontendKey4, FrontendValue> =
            HashMap::try_from(Map::HashMap(map("lb_frontends4")?))?;
        let services = Array::try_from(Map::Array(map("lb_services")?))?;
        let slot = |number| {
            let key = FrontendKey4::new(vip(number), 80, 6);
            let value = frontends
                .get(&key, 0)
                .with_context(|| format!("{} is no frontend", name(number)))?;
            anyhow::Ok(value.slot)
        };
        let slots = (0..arguments.services).map(slot).collect::<Result<_>>()?;
        let tables = Self { services, slots };
        for number in 0..arguments.services {
            let count = tables.range(number)?.count;
            ensure!(count == arguments.endpoints, "{} has {count} backends", name(number));
        }
        Ok(tables)
    }

    fn range(&self, service: u32) -> Result<Range> {
        Ok(self.services.get(&self.slots[service as usize], 0)?.range)
    }
}

/// A change that is on its way.
struct Sent {
    service: u32,
    before: Range,
    at: Instant,
}

/// Changes slices, evenly spaced whatever becomes of them, and looks for each in the table. Returns
/// what that took, of each and as a whole.
fn change(server: &Double, tables: &Tables, arguments: &Arguments) -> Result<(Latency, Duration)> {
    let bar = progress((arguments.rate * arguments.seconds).into(), "changing");
    let period = Duration::from_secs(1) / arguments.rate;
    let (sender, sent) = std::sync::mpsc::channel::<Sent>();
    let began = Instant::now();
    let latency = thread::scope(|scope| {
        let observer = scope.spawn(|| observe(tables, sent, &bar));
        for number in 0..arguments.rate * arguments.seconds {
            // By a stride that meets every Service before it meets one again.
            let service = (u64::from(number) * 7_919 % u64::from(arguments.services)) as u32;
            let slice = slice(service, arguments.endpoints, number / arguments.services + 1)?;
            if let Some(early) = (period * number).checked_sub(began.elapsed()) {
                thread::sleep(early);
            }
            let before = tables.range(service)?;
            server.apply(slice)?;
            // The observer has failed when this does, and says why.
            let _ = sender.send(Sent { service, before, at: Instant::now() });
        }
        drop(sender);
        observer.join().map_err(|_| anyhow::anyhow!("the observer panicked"))?
    })?;
    bar.finish_and_clear();
    Ok((latency, began.elapsed()))
}

fn observe(
    tables: &Tables,
    sent: std::sync::mpsc::Receiver<Sent>,
    bar: &indicatif::ProgressBar,
) -> Result<Latency> {
    let mut latency = Latency::default();
    for Sent { service, before, at } in sent {
        while tables.range(service)? == before {
            if at.elapsed() > LOST {
                bail!("a change of {} is not in the table after {LOST:?}", name(service));
            }
            // Not without a pause: the agent and the server need the processors.
            thread::sleep(TICK);
        }
        latency.record(at.elapsed());
        bar.inc(1);
    }
    Ok(latency)
}
