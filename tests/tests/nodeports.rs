//! Node ports end to end: on the node's addresses as they come and go, on those that are asked for,
//! on 127.0.0.1, and kept free. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Result, ensure};
use lab::{
    Lab,
    exchange::Way,
    family::{Dual, Family},
    manifest::Service,
    pod::{CLIENT, CLIENT6, Pod},
    programs::Transport,
    requirement::Need::NetnsCookie,
    server::Server,
    socket::{Errno, Socket},
    stage::{Stage, eventually, refusal},
};

const NODE_PORT: u16 = 30080;
/// The node's addresses as long as it has Pods.
const NODE: Dual = Dual::new(CLIENT, CLIENT6, NODE_PORT);
/// Addresses that the node gets and loses.
const ANOTHER: Dual = Dual::new(
    Ipv4Addr::new(192, 0, 2, 10),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10),
    NODE_PORT,
);
const LOCALHOST: Dual = Dual::new(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, NODE_PORT);
const ANY: Dual = Dual::new(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, NODE_PORT);
const PORT: u16 = 8080;
const POD: u16 = 7;
const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// A Service with a node port for TCP and UDP.
fn stage<'lab>(lab: &'lab Lab, pod: &Pod) -> Result<(Stage<'lab>, [Server; 2])> {
    let stage = Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))?;
    let service = Service::tcp("web", Dual::cluster_ip(10, 80)).and(Transport::Udp, 80);
    stage.apply(&service.node_port(NODE_PORT).to([pod.dual(PORT)]))?;
    Ok((stage, [pod.serve([(PORT, POD)])?, pod.serve_udp([(PORT, POD)])?]))
}

/// Who answers there, and that the socket is shown the address that it asked for.
fn reached(transport: Transport, family: Family, at: Dual) -> Result<u16, Errno> {
    let address = at.seen_by(family);
    let (socket, identity) = match transport {
        Transport::Tcp => {
            let socket = Socket::tcp(family)?;
            socket.connect(address)?;
            let identity = socket.identity()?;
            (socket, identity)
        }
        Transport::Udp => {
            let socket = Socket::udp(family)?;
            let answer = socket.ask(Way::ConnectedFrom, b"who?", address)?;
            if answer.source != Some(address) {
                return Err(Errno::BADMSG);
            }
            (socket, answer.identity)
        }
    };
    // A greeting's sender may have hung up by now, which ends the connection.
    match socket.peer() {
        Ok(peer) if peer != address => Err(Errno::BADMSG),
        _ => Ok(identity),
    }
}

/// Fails unless all kinds of sockets get this at the address.
fn expect(lab: &Lab, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
    for &family in lab.families()? {
        for transport in BOTH {
            let got = reached(transport, family, at);
            ensure!(got == wanted, "{at:?}, {transport:?}, {family:?}: {got:?}, not {wanted:?}");
        }
    }
    Ok(())
}

fn until(lab: &Lab, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
    eventually(&format!("{wanted:?} at {at:?}"), || Ok(expect(lab, at, wanted).is_ok()))
}

fn both_families(lab: &Lab, addresses: Dual) -> Vec<IpAddr> {
    let v6 = lab.has_ipv6().then_some(IpAddr::V6(*addresses.v6.ip()));
    [IpAddr::V4(*addresses.v4.ip())].into_iter().chain(v6).collect()
}

#[test]
fn point_16_node_ports_are_served_on_the_nodes_addresses_as_they_come_and_go() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let (stage, _servers) = stage(lab, &pod)?;
        let _agent = stage.start(&[])?;
        expect(lab, NODE, Ok(POD))?;
        pod.namespace().run(|| expect(lab, NODE, Ok(POD)))?;
        expect(lab, LOCALHOST, Err(Errno::CONNREFUSED))?;
        for _ in 0..2 {
            expect(lab, ANOTHER, Err(Errno::NETUNREACH))?;
            both_families(lab, ANOTHER).into_iter().try_for_each(|address| lab.assign(address))?;
            until(lab, ANOTHER, Ok(POD))?;
            both_families(lab, ANOTHER)
                .into_iter()
                .try_for_each(|address| lab.unassign(address))?;
            until(lab, ANOTHER, Err(Errno::NETUNREACH))?;
            expect(lab, NODE, Ok(POD))?;
        }
        stage.remove("web")?;
        // From here on the kernel refuses, since nobody listens.
        until(lab, NODE, Err(Errno::CONNREFUSED))
    });
}

#[test]
fn point_16_node_ports_keep_to_the_networks_that_are_named() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let (stage, _servers) = stage(lab, &pod)?;
        both_families(lab, ANOTHER).into_iter().try_for_each(|address| lab.assign(address))?;
        let _agent = stage.start(&["--nodeport-addresses", "192.0.2.0/24,2001:db8::/32"])?;
        expect(lab, ANOTHER, Ok(POD))?;
        expect(lab, NODE, Err(Errno::CONNREFUSED))
    });
}

#[test]
fn point_16_node_ports_are_on_127_0_0_1_for_the_host_alone_if_asked_for() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let pod = lab.pod(0)?;
        let (stage, _servers) = stage(lab, &pod)?;
        let _agent = stage.start(&["--nodeport-localhost"])?;
        expect(lab, NODE, Ok(POD))?;
        for transport in BOTH {
            for &family in lab.families()? {
                // Never on ::1.
                let wanted = if family == Family::V6 { Err(Errno::CONNREFUSED) } else { Ok(POD) };
                let got = reached(transport, family, LOCALHOST);
                assert_eq!(got, wanted, "{transport:?}, {family:?}");
            }
        }
        pod.namespace().run(|| expect(lab, LOCALHOST, Err(Errno::CONNREFUSED)))
    });
}

fn bind(transport: Transport, family: Family, to: SocketAddr) -> Result<(), Errno> {
    let socket = match transport {
        Transport::Tcp => Socket::tcp(family),
        Transport::Udp => Socket::udp(family),
    };
    socket?.bind(to)
}

/// Fails unless all kinds of sockets get this when they are bound there.
fn expect_bind(lab: &Lab, to: Dual, wanted: Result<(), Errno>) -> Result<()> {
    for &family in lab.families()? {
        for transport in BOTH {
            let got = bind(transport, family, to.seen_by(family));
            ensure!(got == wanted, "{to:?}, {transport:?}, {family:?}: {got:?}, not {wanted:?}");
        }
    }
    Ok(())
}

#[test]
fn point_16_node_ports_are_kept_free_in_the_hosts_namespace_if_asked_for() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let pod = lab.pod(0)?;
        let (stage, _servers) = stage(lab, &pod)?;
        let refused = Err(refusal(Errno::ADDRINUSE)?);
        stage.start(&[])?.stop()?;
        expect_bind(lab, ANY, Ok(()))?;

        let agent = stage.start(&["--protect-nodeports"])?;
        expect_bind(lab, ANY, refused)?;
        expect_bind(lab, NODE, refused)?;
        // Where no node port is served, nothing is taken from anybody.
        expect_bind(lab, LOCALHOST, Ok(()))?;
        expect_bind(lab, Dual::new(*ANY.v4.ip(), *ANY.v6.ip(), NODE_PORT + 1), Ok(()))?;
        pod.namespace().run(|| expect_bind(lab, ANY, Ok(())))?;

        let one = Service::udp("web", Dual::cluster_ip(10, 80)).node_port(NODE_PORT);
        stage.apply(&one.to([pod.dual(PORT)]))?;
        eventually("TCP", || Ok(bind(Transport::Tcp, Family::V4, ANY.v4.into()).is_ok()))?;
        let udp = bind(Transport::Udp, Family::V4, ANY.v4.into());
        assert_eq!(udp, refused);
        stage.remove("web")?;
        eventually("no Service", || Ok(expect_bind(lab, ANY, Ok(())).is_ok()))?;
        agent.stop()?;
        Ok(())
    });
}

#[test]
fn point_16_node_ports_on_127_0_0_1_are_kept_free_in_the_hosts_namespace_if_asked_for() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let pod = lab.pod(0)?;
        let (stage, _servers) = stage(lab, &pod)?;
        let refused = Err(refusal(Errno::ADDRINUSE)?);
        let agent = stage.start(&["--protect-nodeports", "--nodeport-localhost"])?;
        for transport in BOTH {
            for &family in lab.families()? {
                // Nothing is served on ::1.
                let wanted = if family == Family::V6 { Ok(()) } else { refused };
                let got = bind(transport, family, LOCALHOST.seen_by(family));
                assert_eq!(got, wanted, "{transport:?}, {family:?}");
            }
        }
        let another = Dual::new(Ipv4Addr::new(127, 0, 0, 2), Ipv6Addr::LOCALHOST, NODE_PORT);
        expect_bind(lab, another, Ok(()))?;
        pod.namespace().run(|| expect_bind(lab, LOCALHOST, Ok(())))?;
        agent.stop()?;
        // Without the frontend on 127.0.0.1 its port is anybody's.
        let _agent = stage.start(&["--protect-nodeports"])?;
        expect_bind(lab, LOCALHOST, Ok(()))?;
        expect_bind(lab, NODE, refused)
    });
}
