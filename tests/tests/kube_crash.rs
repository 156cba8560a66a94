//! The agent killed again and again while a cluster changes. Numbers in names are those of
//! docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use lab::{
    apiserver::ApiServer,
    cluster::Cluster,
    manifest,
    probing::Clients,
    serving::{PORT, Serving},
    stage::{PATIENCE, eventually},
};
use lb_userspace::dataplane::inspect::{Inspector, Location};

/// How often the agent is killed.
const KILLS: u32 = 100;
/// Services that come, change and go.
const SERVICES: u8 = 24;
/// One that stays, and leads to Pods that are there.
const STEADY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);

/// What is stored: the frontends, each with its backends in order.
type Truth = BTreeMap<SocketAddr, Vec<SocketAddr>>;

/// A cluster that never rests.
struct Churn {
    random: fastrand::Rng,
    truth: Truth,
}

impl Churn {
    /// Changes one thing.
    fn step(&mut self, cluster: &Cluster<'_>) -> Result<()> {
        let number = self.random.u8(..SERVICES);
        let name = format!("s{number}");
        let vip = SocketAddrV4::new(Ipv4Addr::new(10, 96, 1, number), 80);
        let known = self.truth.contains_key(&vip.into());
        if known && self.random.u8(..4) == 0 {
            cluster.remove::<Service>("default", &name)?;
            self.truth.remove(&vip.into());
            return Ok(());
        }
        // An endpoint that nobody connects to may be anything.
        let mut backends: Vec<SocketAddr> = (0..self.random.u8(1..6))
            .map(|_| SocketAddrV4::new(Ipv4Addr::new(10, 200, 0, self.random.u8(1..)), PORT).into())
            .collect();
        backends.sort();
        backends.dedup();
        let service = manifest::Service::tcp(&name, vip).to(backends.clone());
        let slices = service.slices();
        cluster.put::<EndpointSlice>(serde_json::from_str(slices.trim())?)?;
        if !known {
            cluster.put::<Service>(serde_json::from_str(service.object().trim())?)?;
        }
        self.truth.insert(vip.into(), backends);
        Ok(())
    }
}

/// What connects see.
fn tables(pins: &Path) -> Result<Truth> {
    let location = Location { pins: Some(pins.to_owned()), ..Location::default() };
    let frontends = Inspector::open(&location)?.frontends()?;
    let of_churn = frontends.into_iter().filter(|view| {
        let address: std::net::IpAddr = view.address;
        address.to_string().starts_with("10.96.1.")
    });
    let views = of_churn.map(|view| {
        let mut backends: Vec<_> = view.backends.iter().map(|backend| backend.address).collect();
        backends.sort();
        (SocketAddr::new(view.address, view.port), backends)
    });
    Ok(views.collect())
}

#[test]
fn point_27_an_agent_that_is_killed_a_hundred_times_leaves_the_truth_in_the_tables() {
    lab::isolated(|lab| {
        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let cluster = Cluster::new(lab, guard, ApiServer::start(lab, guard)?)?;
        let serving = Serving::start(lab, 2)?;
        cluster.apply(
            &manifest::Service::tcp("steady", STEADY)
                .to([serving.pods[0].socket(PORT), serving.pods[1].socket(PORT)]),
        )?;
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut churn = Churn { random: fastrand::Rng::with_seed(seed), truth: Truth::new() };
        for _ in 0..SERVICES {
            churn.step(&cluster)?;
        }
        // So that connects are balanced from the first kill on.
        cluster.start(&[])?.stop()?;
        let clients = Clients::of(STEADY);
        for kill in 0..KILLS {
            let mut starting = cluster.launch(&[])?;
            // Anywhere from its first instruction to long after it is ready.
            let steps = churn.random.u32(..120);
            for _ in 0..steps {
                churn.step(&cluster)?;
                thread::sleep(Duration::from_millis(churn.random.u64(..5)));
            }
            let converges = kill % 10 == 9;
            if converges {
                ensure!(starting.wait(PATIENCE)?, "kill {kill}: not ready");
                eventually(
                    "the truth in the tables",
                    || Ok(tables(cluster.pins())? == churn.truth),
                )
                .with_context(|| format!("after kill {kill}"))?;
            }
            starting.agent.kill()?;
        }
        let count = clients.end()?;
        ensure!(count > 1_000, "{count} connects");
        let _agent = cluster.start(&[])?;
        eventually("the truth in the tables", || Ok(tables(cluster.pins())? == churn.truth))
    });
}
