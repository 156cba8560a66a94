//! Sockets that are connected to a backend that goes, end to end: manifests change, and the agent
//! closes them under their applications. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

mod back;

use std::{path::Path, thread, time::Duration};

use anyhow::Result;
use lab::{
    Lab,
    closing::{expect_echo, expect_unharmed, settle, wait_until_closed},
    exchange::Way,
    family::{Dual, Family},
    manifest::Service,
    pod::Pod,
    requirement::Need,
    socket::{Errno, Socket},
    stage::{Stage, eventually},
};
use serde_json::json;

const DNS: Dual = Dual::cluster_ip(10, 53);
/// Another Service's.
const OTHER: Dual = Dual::cluster_ip(11, 53);
const ECHO: Dual = Dual::cluster_ip(12, 7);
/// Where the Pods' servers listen.
const PORT: u16 = 5353;
/// A backend that is back within this time has not gone.
const MOMENT: Duration = Duration::from_secs(1);

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

fn dns<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Service {
    Service::udp("dns", DNS).to(pods.into_iter().map(|pod| pod.dual(PORT)))
}

/// A UDP socket of the calling thread's namespace.
fn connected(family: Family, to: Dual) -> Result<Socket> {
    let socket = Socket::udp(family)?;
    socket.connect(to.seen_by(family))?;
    Ok(socket)
}

/// Who answers to a new socket.
fn reached(to: Dual) -> Result<u16, Errno> {
    Ok(Socket::udp(Family::V4)?.ask(Way::Connected, b"who?", to.v4)?.identity)
}

fn until(what: &str, wanted: impl Fn(Result<u16, Errno>) -> bool) -> Result<()> {
    eventually(what, || Ok(wanted(reached(DNS))))
}

#[test]
fn point_22_sockets_of_all_namespaces_are_closed_when_their_backend_leaves() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let [leaving, staying, client] = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let _servers = [leaving.serve_udp([(PORT, 1)])?, staying.serve_udp([(PORT, 2)])?];
        let stage = stage(lab)?;
        stage.apply(&dns([&leaving]))?;
        stage.apply(&Service::udp("other", OTHER).to([leaving.dual(PORT)]))?;
        let _agent = stage.start(&[])?;
        let (mut closed, mut open) = (Vec::new(), Vec::new());
        for &family in lab.families()? {
            let here = || -> Result<_> {
                let moved = connected(family, DNS)?;
                moved.connect(leaving.dual(PORT).seen_by(family))?;
                let direct = connected(family, leaving.dual(PORT))?;
                let others = [("moved", moved), ("direct", direct)];
                let other = ("another Service's", connected(family, OTHER)?);
                Ok((connected(family, DNS)?, others.into_iter().chain([other])))
            };
            for (place, (socket, others)) in
                [("the client", here()?), ("a Pod", client.namespace().run(here)?)]
            {
                closed.push((family, format!("{family:?} in {place}"), socket));
                open.extend(
                    others.map(|(what, socket)| (format!("{family:?} in {place}, {what}"), socket)),
                );
            }
        }
        let unconnected = Socket::udp(Family::V4)?;
        assert_eq!(unconnected.ask(Way::SendTo, b"1", DNS.v4)?.identity, 1);

        stage.apply(&dns([&staying]))?;
        for (family, what, socket) in &closed {
            wait_until_closed(socket, what)?;
            // The application goes on with it, as resolvers do.
            let answer = socket.ask(Way::Connected, b"again", DNS.seen_by(*family))?;
            assert_eq!(answer.identity, 2, "{what}");
        }
        settle(&stage, &staying)?;
        for (what, socket) in &open {
            expect_unharmed(socket, what)?;
        }
        assert_eq!(unconnected.ask(Way::SendTo, b"2", DNS.v4)?.identity, 2);
        Ok(())
    });
}

#[test]
fn point_22_a_socket_that_only_sends_is_told_until_it_connects_anew() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let [leaving, staying] = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [leaving.serve_udp([(PORT, 1)])?, staying.serve_udp([(PORT, 2)])?];
        let stage = stage(lab)?;
        stage.apply(&dns([&leaving]))?;
        let _agent = stage.start(&[])?;
        let sockets: Vec<_> = lab
            .families()?
            .iter()
            .map(|&family| Ok((family, connected(family, DNS)?)))
            .collect::<Result<_>>()?;
        stage.apply(&dns([&staying]))?;
        for (family, socket) in &sockets {
            eventually("a send that fails", || Ok(socket.send(b"?").is_err()))?;
            assert_eq!(socket.send(b"?"), Err(Errno::DESTADDRREQ), "{family:?}");
            socket.connect(DNS.seen_by(*family))?;
            // The error that nobody has read.
            assert_eq!(socket.send(b"?"), Err(Errno::CONNABORTED), "{family:?}");
            assert_eq!(socket.send(b"?"), Ok(()), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_22_a_backend_that_new_sockets_do_not_reach_for_other_reasons_closes_none() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let pods = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [pods[0].serve_udp([(PORT, 1)])?, pods[1].serve_udp([(PORT, 2)])?];
        let stage = stage(lab)?;
        let service = |first: serde_json::Value, second: serde_json::Value| {
            let service = Service::udp("dns", DNS).also(pods[0].dual(PORT), first);
            service.also(pods[1].dual(PORT), second)
        };
        let hint = |node: &str| json!({"hints": {"forNodes": [{"name": node}]}});
        stage.apply(&service(hint("here"), hint("there")))?;
        let _agent = stage.start(&["--node-name", "here"])?;
        let socket = connected(Family::V4, DNS)?;
        assert_eq!(socket.ask(Way::Connected, b"", DNS.v4)?.identity, 1);
        let unmoved = || -> Result<()> {
            settle(&stage, &pods[1])?;
            expect_unharmed(&socket, "the socket")
        };

        stage.apply(&service(hint("there"), hint("here")))?;
        until("the topology", |reached| reached == Ok(2))?;
        unmoved()?;

        let local = |service: Service| service.spec(json!({"internalTrafficPolicy": "Local"}));
        let on = |node: &str| json!({"nodeName": node});
        stage.apply(&local(service(on("there"), on("there"))))?;
        until("the policy", |reached| reached.is_err())?;
        unmoved()?;

        let draining =
            json!({"conditions": {"ready": false, "serving": true, "terminating": true}});
        stage.apply(&service(draining, json!({})))?;
        until("the other Pod", |reached| reached == Ok(2))?;
        unmoved()?;

        let ended = json!({"conditions": {"ready": false, "serving": false, "terminating": true}});
        stage.apply(&service(ended, json!({})))?;
        wait_until_closed(&socket, "the socket")
    });
}

#[test]
fn point_22_sockets_are_closed_when_their_service_is_deleted() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let pod = lab.pod(1)?;
        let stage = stage(lab)?;
        stage.apply(&dns([&pod]))?;
        stage.apply(&Service::udp("other", OTHER).to([pod.dual(PORT)]))?;
        let _agent = stage.start(&[])?;
        let sockets = lab.families()?.iter().map(|&family| connected(family, DNS));
        let sockets = sockets.collect::<Result<Vec<_>>>()?;
        let other = connected(Family::V4, OTHER)?;
        stage.remove("dns")?;
        sockets.iter().try_for_each(|socket| wait_until_closed(socket, "the Service's"))?;
        settle(&stage, &pod)?;
        expect_unharmed(&other, "the other Service's")
    });
}

#[test]
fn point_22_and_27_what_goes_while_no_agent_runs_is_closed_by_the_next_and_nothing_else() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let [leaving, staying, client] = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let stage = stage(lab)?;
        stage.apply(&dns([&leaving]))?;
        stage.apply(&Service::udp("other", OTHER).to([leaving.dual(PORT)]))?;
        let agent = stage.start(&[])?;
        let mut sockets = Vec::new();
        for &family in lab.families()? {
            sockets.push(connected(family, DNS)?);
            sockets.push(client.namespace().run(|| connected(family, DNS))?);
        }
        let other = connected(Family::V4, OTHER)?;
        agent.stop()?;
        let agent = stage.start(&[])?;
        settle(&stage, &staying)?;
        let what = "nothing has changed, but a socket";
        sockets.iter().try_for_each(|socket| expect_unharmed(socket, what))?;
        agent.kill()?;
        stage.apply(&dns([&staying]))?;
        let _agent = stage.start(&[])?;
        let what = "a socket whose backend left meanwhile";
        sockets.iter().try_for_each(|socket| wait_until_closed(socket, what))?;
        settle(&stage, &staying)?;
        expect_unharmed(&other, "the other Service's")
    });
}

/// A TCP connection and a UDP socket whose backend goes, with these flags.
fn tcp_and_udp(
    lab: &Lab,
    flags: &[&str],
    check: impl Fn(&Stage<'_>, &Pod, [Socket; 2]) -> Result<()>,
) -> Result<()> {
    let pods = [lab.pod(1)?, lab.pod(2)?];
    let _servers = [pods[0].serve_echo([(PORT, 1)])?, pods[1].serve_udp([(PORT, 2)])?];
    let stage = stage(lab)?;
    let echo = |pod: &Pod| Service::tcp("echo", ECHO).to([pod.dual(PORT)]);
    stage.apply(&echo(&pods[0]))?;
    stage.apply(&dns([&pods[0]]))?;
    let _agent = stage.start(flags)?;
    let (tcp, udp) = (Socket::tcp(Family::V4)?, connected(Family::V4, DNS)?);
    tcp.connect(ECHO.v4)?;
    assert_eq!(tcp.identity()?, 1);
    stage.apply(&echo(&pods[1]))?;
    stage.apply(&dns([&pods[1]]))?;
    until("the other Pod", |reached| reached == Ok(2))?;
    check(&stage, &pods[1], [tcp, udp])
}

#[test]
fn point_23_tcp_connections_survive_their_backend() {
    lab::isolated_with(&[Need::Origins], |lab| {
        tcp_and_udp(lab, &[], |stage, pod, [tcp, udp]| {
            wait_until_closed(&udp, "UDP")?;
            stage.remove("echo")?;
            settle(stage, pod)?;
            expect_echo(&tcp, "TCP")
        })
    });
}

#[test]
fn point_23_tcp_connections_are_closed_if_asked_for() {
    lab::isolated_with(&[Need::Origins], |lab| {
        tcp_and_udp(lab, &["--close-stale", "all"], |_, _, [tcp, udp]| {
            wait_until_closed(&tcp, "TCP")?;
            wait_until_closed(&udp, "UDP")
        })
    });
}

#[test]
fn point_22_no_socket_is_closed_if_asked_for() {
    lab::isolated(|lab| {
        tcp_and_udp(lab, &["--close-stale", "none"], |stage, _, [tcp, udp]| {
            stage.remove("echo")?;
            stage.remove("dns")?;
            until("no Service", |reached| reached == Err(Errno::NETUNREACH))?;
            // Nothing tells that no socket is closed, but that the time for it has passed.
            thread::sleep(2 * MOMENT);
            expect_unharmed(&udp, "UDP")?;
            expect_echo(&tcp, "TCP")
        })
    });
}
