//! Many backends that go at once, end to end: all sockets that are connected to them are closed in one
//! pass for each object that changed, at most. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    ops::RangeInclusive,
    path::Path,
};

use anyhow::{Context as _, Result};
use lab::{
    Lab,
    agent::Agent,
    closing::{expect_unharmed, wait_until_closed},
    family::{Dual, Family},
    manifest::Service,
    pod::Pod,
    requirement::Need,
    socket::{Errno, Socket},
    stage::{Stage, eventually, logged},
};
use rustix::process::{Resource, Rlimit, setrlimit};

const DNS: Dual = Dual::cluster_ip(10, 53);
/// Where the Pod's server listens, and nobody else.
const PORT: u16 = 5353;
const SOCKETS: usize = 1000;
/// Where the thousand listen. Each port is a slice, and each slice that goes a change of its own, for
/// which there may be a pass.
const PORTS: RangeInclusive<u16> = 1..=4;

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    let limit = Some(4096);
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

/// A thousand backends. Pods have a route to all of these addresses, whether there is a Pod or not.
fn thousand() -> impl Iterator<Item = SocketAddrV4> {
    let addresses = (1..=250).map(|host| Ipv4Addr::new(10, 244, 0, host));
    addresses.flat_map(|ip| PORTS.map(move |port| SocketAddrV4::new(ip, port)))
}

/// So many sockets in each of two Pods, one family after the other, connected to the Service.
fn connected(pods: &[Pod; 2], families: &[Family], count: usize) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for pod in pods {
        let half = || -> Result<Vec<_>> {
            let families = families.iter().cycle().take(count);
            let sockets = families.map(|&family| {
                let socket = Socket::udp(family)?;
                socket.connect(DNS.seen_by(family))?;
                Ok(socket)
            });
            sockets.collect()
        };
        sockets.extend(pod.namespace().run(half)?);
    }
    Ok(sockets)
}

/// Waits until the agent has told of all sockets that it closes, most of these, and returns in how many
/// passes it did.
fn passes(agent: &Agent, sockets: &[Socket]) -> Result<usize> {
    let (mut passes, mut told) = (0, 0);
    eventually("most are closed", || {
        let tells = |line: &&String| line.contains("closed sockets") && line.contains("tcp=0");
        for line in agent.new_lines().iter().filter(tells) {
            let udp = line.split_whitespace().find_map(|word| word.strip_prefix("udp="));
            told += udp.context("no number")?.parse::<usize>()?;
            passes += 1;
        }
        let closed = sockets.iter().filter(|socket| socket.peer().is_err()).count();
        Ok(told == closed && closed > SOCKETS * 9 / 10)
    })?;
    Ok(passes)
}

/// Two Pods. Namespaces that nothing lives in are found at the second look only.
fn pods(lab: &Lab) -> Result<[Pod; 2]> {
    let pods = [lab.pod(1)?, lab.pod(2)?];
    pods.iter().try_for_each(|pod| pod.inhabit().map(drop))?;
    Ok(pods)
}

#[test]
fn point_22_a_thousand_backends_that_go_with_their_service_are_one_pass() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let pods = pods(lab)?;
        let stage = stage(lab)?;
        let service = Service::udp("dns", DNS.v4).to(thousand());
        stage.write("slices", &service.slices())?;
        stage.write("service", &service.object())?;
        let agent = stage.start(&[])?;
        let sockets = connected(&pods, &[Family::V4], SOCKETS / 2)?;
        // All at once, as one event.
        stage.remove("service")?;
        logged(&agent, &["closed sockets", &format!("udp={SOCKETS}"), "tcp=0"])?;
        sockets.iter().try_for_each(|socket| wait_until_closed(socket, "a socket"))
    });
}

#[test]
fn point_22_a_thousand_backends_that_leave_their_service_to_another_are_few_passes() {
    /// What the server says of itself.
    const STAYING: u16 = 7;
    lab::isolated_with(&[Need::Origins, Need::Ipv6], |lab| {
        let pods = pods(lab)?;
        let _server = pods[0].serve_udp([(PORT, STAYING)])?;
        let stage = stage(lab)?;
        let alone = Service::udp("dns", DNS.v4).to([pods[0].socket(PORT)]);
        let crowded = alone.clone().to(thousand().chain([pods[0].socket(PORT)]));
        stage.write("slices", &alone.slices())?;
        stage.write("service", &alone.object())?;
        let agent = stage.start(&[])?;
        let families = [Family::V4, Family::Mapped];
        let mut open = connected(&pods, &families, 2)?;

        stage.write("slices", &crowded.slices())?;
        // From here there is no way to most of them.
        let connect = || Socket::udp(Family::V4)?.connect(DNS.v4);
        eventually("the thousand", || Ok(connect() == Err(Errno::NETUNREACH)))?;
        let sockets = connected(&pods, &families, SOCKETS / 2)?;

        stage.write("slices", &alone.slices())?;
        let passes = passes(&agent, &sockets)?;
        assert!(passes <= PORTS.count(), "{passes} passes");
        // Chance may have led some to the one that stays.
        let (alive, closed): (Vec<_>, Vec<_>) =
            sockets.into_iter().partition(|socket| socket.peer().is_ok());
        open.extend(alive);
        for socket in &closed {
            wait_until_closed(socket, "a socket")?;
        }
        for socket in &open {
            expect_unharmed(socket, "a socket of the one that stays")?;
            socket.send(b"?")?;
            assert_eq!(socket.receive()?.identity, STAYING);
        }
        Ok(())
    });
}
