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
use lab::{Lab, client, latency::Latency, plane::Plane, port::Port};
use lb_userspace::publish::Sizes;

use super::{
    IDENTITY,
    bare::{self, UNROUTED},
};

/// The first address of the Service network that kubeadm sets up.
const FIRST_VIP: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const VIP_PORT: u16 = 80;
/// Connects at the start of a batch that only bring caches into the batch's own state.
const WARM_UP: u32 = 20;
/// Connects on one socket in the time of one with a handshake and a greeting, about.
const BARE: u32 = 10;

/// Where connects go. The first three make a connection each; the others send nothing.
#[derive(Clone, Copy)]
enum Target {
    /// Straight to the Pod.
    Pod,
    /// To any frontend, each with the same chance.
    Any,
    /// To the same frontend each time.
    Same,
    /// To the Pod by UDP, which the program lets pass after its first check.
    Datagram,
    /// To a frontend whose only backend is unrouted.
    DeadEnd,
    /// Straight to that backend.
    Unrouted,
}

/// A cgroup, with a program on it and this many frontends in its tables besides the dead end, or
/// without.
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
    /// Every timed connect; none where connects send nothing.
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
        row("connect4-floor", &few, Target::Datagram),
        row("connect4-loop", &few, Target::DeadEnd),
        row("connect4-loop", &many, Target::DeadEnd),
        row("connect4-loop", &most, Target::DeadEnd),
        row("connect4-loop-miss", &few, Target::Unrouted),
        row("connect4-loop-miss", &many, Target::Unrouted),
        row("connect4-loop-miss", &most, Target::Unrouted),
    ])
}

impl Site {
    fn new(lab: &Lab, frontends: u32, pod: SocketAddrV4) -> Result<Self> {
        let cgroup = lab.cgroup().join(format!("frontends-{frontends}"));
        fs::create_dir(&cgroup)
            .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        let plane = (frontends > 0).then(|| {
            let mut plane = Plane::new(Sizes::new(frontends + 1, frontends + 1))?;
            // Each a Service port of its own, as in a cluster.
            for number in 0..frontends {
                plane.publish(&port(number).to([pod]))?;
            }
            plane.publish(&port(frontends).to([UNROUTED]))?;
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
        Ok(plane.borrow().object.statistics("connect4")?)
    }
}

impl Case {
    /// How many frontends the tables hold besides the dead end.
    pub(super) fn frontends(&self) -> u32 {
        self.site.frontends
    }

    /// Times this many connects, if they make connections.
    pub(super) fn time(&mut self, connects: u32, rng: &mut Rng) -> Result<()> {
        if self.is_bare() {
            return Ok(());
        }
        self.site.enter()?;
        let (before, _) = self.site.statistics()?;
        self.connect(WARM_UP, rng)?;
        let latency = self.connect(connects, rng)?;
        self.medians.push(latency.quantile_ns(0.5));
        self.latency.merge(&latency);
        self.disturbed |= self.site.statistics()?.0 != before;
        Ok(())
    }

    /// Measures the program over this many connects, or over more that send nothing. The kernel's
    /// statistics must be on.
    pub(super) fn count(&mut self, connects: u32, rng: &mut Rng) -> Result<()> {
        if self.site.plane.is_none() {
            return Ok(());
        }
        let connects = if self.is_bare() { connects * BARE } else { connects };
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
        match self.target {
            Target::Pod | Target::Any | Target::Same => {
                for _ in 0..connects {
                    latency.record(self.connection(self.address(rng))?);
                }
            }
            Target::Datagram => {
                bare::datagram(self.address(rng), connects).context(self.name)?;
            }
            Target::DeadEnd | Target::Unrouted => {
                bare::unrouted(self.address(rng), connects).context(self.name)?;
            }
        }
        Ok(latency)
    }

    /// What `connect()` took to make a connection, which has reached the Pod.
    fn connection(&self, to: SocketAddrV4) -> Result<Duration> {
        let connection = client::connect(to, client::TIMEOUT)
            .with_context(|| format!("{}: cannot connect to {to}", self.name))?;
        let took = connection.took;
        ensure!(connection.identity()? == IDENTITY, "{}: {to} reached another Pod", self.name);
        Ok(took)
    }

    fn address(&self, rng: &mut Rng) -> SocketAddrV4 {
        let frontends = self.site.frontends;
        match self.target {
            Target::Pod | Target::Datagram => self.pod,
            Target::Any => vip(rng.u32(..frontends)),
            Target::Same => vip(frontends / 2),
            Target::DeadEnd => vip(frontends),
            Target::Unrouted => UNROUTED,
        }
    }

    /// Whether connects send nothing.
    fn is_bare(&self) -> bool {
        matches!(self.target, Target::Datagram | Target::DeadEnd | Target::Unrouted)
    }
}

/// The address of a frontend.
fn vip(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(FIRST_VIP + number), VIP_PORT)
}

/// The Service port with this number.
fn port(number: u32) -> Port {
    Port::tcp(&format!("bench/{number}")).at([vip(number)])
}
