//! The cases: each connects from a cgroup of its own, with or without tables and a program there.
//!
//! Nothing here may put anything but `connect()` into a time that is recorded.

use std::{
    cell::RefCell,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use lab::{Lab, client, latency::Latency, plane::Plane};
use lb_userspace::publish::Sizes;

use super::IDENTITY;

/// The first address of the Service network that kubeadm sets up.
const FIRST_VIP: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const VIP_PORT: u16 = 80;
/// Connects at the start of a batch that only bring caches into the batch's own state.
const WARM_UP: u32 = 20;

/// Where connects go.
#[derive(Clone, Copy)]
enum Target {
    /// Straight to the Pod.
    Pod,
    /// To any frontend, each with the same chance.
    Any,
    /// To the same frontend each time.
    Same,
}

/// A cgroup, with a program on it and this many frontends in its tables, or without.
struct Site {
    cgroup: PathBuf,
    frontends: u32,
    plane: Option<RefCell<Plane>>,
}

/// One row of the results, as far as it has been measured.
pub(super) struct Case {
    pub(super) name: &'static str,
    site: Rc<Site>,
    target: Target,
    pod: SocketAddrV4,
    /// Every timed connect.
    pub(super) latency: Latency,
    /// The median of each round, in nanoseconds.
    pub(super) medians: Vec<u64>,
    /// The program's nanoseconds per run in each round.
    pub(super) program_ns: Vec<f64>,
    /// Statistics ran although they were off.
    pub(super) disturbed: bool,
}

/// All cases, the direct one first.
pub(super) fn all(lab: &Lab, pod: SocketAddrV4) -> Result<Vec<Case>> {
    let site = |frontends| Site::new(lab, frontends, pod).map(Rc::new);
    let [none, few, many, most] = [site(0)?, site(10)?, site(10_000)?, site(100_000)?];
    let row = |name, site: &Rc<Site>, target| Case {
        name,
        site: Rc::clone(site),
        target,
        pod,
        latency: Latency::default(),
        medians: Vec::new(),
        program_ns: Vec::new(),
        disturbed: false,
    };
    Ok(vec![
        row("direct", &none, Target::Pod),
        row("connect4-tcp", &few, Target::Any),
        row("connect4-tcp", &many, Target::Any),
        row("connect4-tcp", &most, Target::Any),
        row("connect4-same", &few, Target::Same),
        row("connect4-same", &many, Target::Same),
        row("connect4-same", &most, Target::Same),
        row("connect4-miss", &few, Target::Pod),
        row("connect4-miss", &most, Target::Pod),
    ])
}

impl Site {
    fn new(lab: &Lab, frontends: u32, pod: SocketAddrV4) -> Result<Self> {
        let cgroup = lab.cgroup().join(format!("frontends-{frontends}"));
        fs::create_dir(&cgroup)
            .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        let plane = (frontends > 0).then(|| {
            let mut plane = Plane::new(Sizes::new(frontends, frontends))?;
            plane.publish((0..frontends).map(vip), &[pod])?;
            plane.attach(&cgroup)?;
            anyhow::Ok(RefCell::new(plane))
        });
        Ok(Self { cgroup, frontends, plane: plane.transpose()? })
    }

    /// Moves this process there: sockets made from now on belong to it.
    fn enter(&self) -> Result<()> {
        fs::write(self.cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("cannot enter the cgroup {}", self.cgroup.display()))
    }

    /// How often the program ran, and for how long in all, while statistics were on.
    fn statistics(&self) -> Result<(u64, Duration)> {
        let Some(plane) = &self.plane else { return Ok((0, Duration::ZERO)) };
        let info = plane.borrow_mut().object.program()?.info()?;
        Ok((info.run_count(), info.run_time()))
    }
}

impl Case {
    /// How many frontends the tables hold.
    pub(super) fn frontends(&self) -> u32 {
        self.site.frontends
    }

    /// Times this many connects.
    pub(super) fn time(&mut self, connects: u32, rng: &mut Rng) -> Result<()> {
        self.site.enter()?;
        let (before, _) = self.site.statistics()?;
        self.connect(WARM_UP, rng)?;
        let latency = self.connect(connects, rng)?;
        self.medians.push(latency.quantile_ns(0.5));
        self.latency.merge(&latency);
        self.disturbed |= self.site.statistics()?.0 != before;
        Ok(())
    }

    /// Measures the program over this many connects. The kernel's statistics must be on.
    pub(super) fn count(&mut self, connects: u32, rng: &mut Rng) -> Result<()> {
        if self.site.plane.is_none() {
            return Ok(());
        }
        self.site.enter()?;
        self.connect(WARM_UP, rng)?;
        let (runs_before, time_before) = self.site.statistics()?;
        self.connect(connects, rng)?;
        let (runs, time) = self.site.statistics()?;
        let runs = runs - runs_before;
        ensure!(
            runs == u64::from(connects),
            "{connects} connects, but the program ran {runs} times"
        );
        self.program_ns.push((time - time_before).as_nanos() as f64 / runs as f64);
        Ok(())
    }

    fn connect(&self, connects: u32, rng: &mut Rng) -> Result<Latency> {
        let mut latency = Latency::default();
        for _ in 0..connects {
            let to = match self.target {
                Target::Pod => self.pod,
                Target::Any => vip(rng.u32(..self.site.frontends)),
                Target::Same => vip(self.site.frontends / 2),
            };
            let connection = client::connect(to, client::TIMEOUT)
                .with_context(|| format!("{}: cannot connect to {to}", self.name))?;
            latency.record(connection.took);
            ensure!(connection.identity()? == IDENTITY, "{}: {to} reached another Pod", self.name);
        }
        Ok(latency)
    }
}

/// The address of a frontend.
fn vip(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(FIRST_VIP + number), VIP_PORT)
}
