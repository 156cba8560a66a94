//! What a restart of the agent carries over: the backends that clients and sockets have, and what
//! sockets show. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{io, path::Path};

use anyhow::Result;
use aya::maps::MapInfo;
use lab::{
    Lab,
    client::{TIMEOUT, connect},
    exchange::Way,
    family::Dual,
    manifest::Service,
    pod::Pod,
    programs::Transport,
    server::Server,
    socket::{Errno, Socket},
    stage::Stage,
};
use serde_json::json;

const WEB: Dual = Dual::cluster_ip(10, 80);
const DNS: Dual = Dual::cluster_ip(11, 53);
/// Backends at one Pod: so many that choosing anew shows.
const BACKENDS: u16 = 16;
/// The first backend's port; the others follow.
const PORT: u16 = 8080;

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

/// A Service that leads to the first port of these Pods.
fn web<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Service {
    Service::tcp("web", WEB).to(pods.into_iter().map(|pod| pod.dual(PORT)))
}

fn identity() -> io::Result<u16> {
    connect(WEB.v4, TIMEOUT)?.identity()
}

/// Two Services with many backends each, all at this Pod. The names of one are as long as they may
/// be: what is carried over is found by name.
fn many(stage: &Stage<'_>, pod: &Pod) -> Result<[Server; 2]> {
    let ports = || (0..BACKENDS).map(|index| (PORT + index, index));
    let backends = || ports().map(|(port, _)| pod.dual(port));
    let sticky = json!({"sessionAffinity": "ClientIP"});
    stage.apply(&Service::tcp("web", WEB).to(backends()).spec(sticky))?;
    let [namespace, name, port] = ["n", "d", "p"].map(|letter| letter.repeat(63));
    let metadata = format!("\"metadata\":{{\"namespace\":\"{namespace}\",");
    let dns = Service::udp(&name, DNS).to(backends()).text();
    stage.write("dns", &dns.replace("\"metadata\":{", &metadata).replace("udp-53", &port))?;
    Ok([pod.serve(ports())?, pod.serve_udp(ports())?])
}

/// Moves everything in the tables of the next agent: a Service that comes first by name.
fn shift(stage: &Stage<'_>, pod: &Pod) -> Result<()> {
    let first = Service::udp("a", Dual::cluster_ip(9, 53)).to([pod.dual(1), pod.dual(2)]);
    stage.apply(&first.and(Transport::Tcp, 53))
}

fn map(stage: &Stage<'_>, name: &str) -> Result<u32> {
    Ok(MapInfo::from_pin(stage.pins().join(name))?.id())
}

#[test]
fn point_15_and_27_clients_keep_their_backend() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?, lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let _servers = many(&stage, &pods[0])?;
        let reached = || -> Result<Vec<u16>> {
            let mut reached = vec![identity()?];
            for pod in &pods {
                reached.push(pod.namespace().run(identity)?);
            }
            Ok(reached)
        };
        let agent = stage.start(&[])?;
        let before = (reached()?, map(&stage, "lb_affinity")?, map(&stage, "lb_services")?);
        assert_eq!(reached()?, before.0);
        agent.stop()?;
        assert_eq!(reached()?, before.0, "without an agent");
        shift(&stage, &pods[0])?;
        let agent = stage.start(&["--max-backends", "1000"])?;
        assert_eq!(reached()?, before.0, "after a restart");
        assert_eq!(map(&stage, "lb_affinity")?, before.1);
        assert_ne!(map(&stage, "lb_services")?, before.2);
        agent.kill()?;
        let _agent = stage.start(&[])?;
        assert_eq!(reached()?, before.0, "after a crash");
        Ok(())
    });
}

#[test]
fn point_21_and_27_unconnected_sockets_keep_their_backend() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pod = lab.pod(0)?;
        let _servers = many(&stage, &pod)?;
        let mut sockets = Vec::new();
        for &family in lab.families()? {
            for _ in 0..4 {
                sockets.push((family, Socket::udp(family)?));
            }
        }
        let reached = || -> Result<Vec<u16>> {
            let mut reached = Vec::new();
            for (family, socket) in &sockets {
                let answer = socket.ask(Way::SendTo, b"?", DNS.seen_by(*family))?;
                assert_eq!(answer.source, Some(DNS.seen_by(*family)), "{family:?}");
                reached.push(answer.identity);
            }
            Ok(reached)
        };
        let agent = stage.start(&[])?;
        let before = reached()?;
        agent.stop()?;
        shift(&stage, &pod)?;
        let _agent = stage.start(&[])?;
        assert_eq!(reached()?, before);
        assert_eq!(reached()?, before);
        Ok(())
    });
}

#[test]
fn point_21_and_27_a_frontend_that_went_without_an_agent_is_not_remembered_as_the_next_one() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pod = lab.pod(0)?;
        let _server = pod.serve_udp([(PORT, 0)])?;
        let (gone, left) = (Dual::cluster_ip(12, 53), Dual::cluster_ip(13, 53));
        let dns = |external: &[Dual]| {
            let both = |it: &Dual| [it.v4.ip().to_string(), it.v6.ip().to_string()];
            let addresses: Vec<_> = external.iter().flat_map(both).collect();
            let spec = json!({"externalIPs": addresses});
            stage.apply(&Service::udp("dns", DNS).to([pod.dual(PORT)]).spec(spec))
        };
        dns(&[gone, left])?;
        let agent = stage.start(&[])?;
        let mut sockets = Vec::new();
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            assert_eq!(socket.ask(Way::SendTo, b"?", gone.seen_by(family))?.identity, 0);
            sockets.push((family, socket));
        }
        agent.stop()?;
        // The next agent gives slots in the order of addresses: each moves up by one.
        dns(&[left])?;
        let _agent = stage.start(&[])?;
        for (family, socket) in &sockets {
            let asked = socket.ask(Way::SendTo, b"?", gone.seen_by(*family));
            assert_eq!(asked.map(|_| ()), Err(Errno::NETUNREACH), "{family:?}");
            assert_eq!(socket.ask(Way::SendTo, b"?", left.seen_by(*family))?.identity, 0);
        }
        Ok(())
    });
}

#[test]
fn point_20_and_27_sockets_show_the_service_until_flags_or_cleanup_end_that() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pod = lab.pod(0)?;
        let _server = (pod.serve_echo([(PORT, 0)])?, pod.serve_udp([(PORT, 0)])?);
        stage.apply(&web([&pod]))?;
        stage.apply(&Service::udp("dns", DNS).to([pod.dual(PORT)]))?;
        let agent = stage.start(&[])?;
        let mut sockets = Vec::new();
        for &family in lab.families()? {
            let (tcp, udp) = (Socket::tcp(family)?, Socket::udp(family)?);
            tcp.connect(WEB.seen_by(family))?;
            udp.connect(DNS.seen_by(family))?;
            sockets.push((family, tcp, udp));
        }
        let expect = |tcp_shown: Dual, udp_shown: Dual, when: &str| -> Result<()> {
            for (family, tcp, udp) in &sockets {
                assert_eq!(tcp.peer()?, tcp_shown.seen_by(*family), "TCP, {family:?}, {when}");
                assert_eq!(udp.peer()?, udp_shown.seen_by(*family), "UDP, {family:?}, {when}");
                udp.send(b"?")?;
                let source = udp.receive_from()?.source;
                assert_eq!(source, Some(udp_shown.seen_by(*family)), "{family:?}, {when}");
            }
            Ok(())
        };
        let truth = pod.dual(PORT);
        expect(WEB, DNS, "at first")?;
        agent.stop()?;
        expect(WEB, DNS, "without an agent")?;
        stage.start(&[])?.stop()?;
        expect(WEB, DNS, "after a restart")?;
        stage.start(&["--peername", "udp"])?.stop()?;
        expect(truth, DNS, "with --peername udp")?;
        stage.start(&["--peername", "none"])?.stop()?;
        expect(truth, truth, "with --peername none")?;
        stage.start(&[])?.stop()?;
        expect(WEB, DNS, "with the default again")?;

        assert!(stage.socklb(&["cleanup"])?.status.success());
        assert!(!stage.pins().exists());
        expect(truth, truth, "after cleanup")?;
        for (family, ..) in &sockets {
            let (tcp, udp) = (Socket::tcp(*family)?, Socket::udp(*family)?);
            assert_eq!(tcp.connect(WEB.seen_by(*family)), Err(Errno::NETUNREACH));
            assert_eq!(udp.send_to(b"?", DNS.seen_by(*family)), Err(Errno::NETUNREACH));
        }
        Ok(())
    });
}
