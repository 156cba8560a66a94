//! Services without backends: each kind of connect is refused, and leaves the socket as it was before.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::Result;
use lab::{
    Lab,
    closing::{expect_unharmed, wait_until_closed},
    exchange::Way,
    family::Dual,
    manifest::Service,
    plane::Plane,
    pod::Pod,
    port::{Port, cluster_ip},
    requirement::Need,
    serving::Serving,
    socket::{Errno, Socket},
    stage::{Stage, refusal},
};
use lb_common::Counter;

const VIP: Dual = cluster_ip(10, 53);
/// A Service without backends.
const EMPTY: Dual = cluster_ip(11, 53);
/// Where the Pods' servers listen.
const PORT: u16 = 5353;

/// A Service that leads to all of these Pods, and one without backends, over TCP and UDP.
fn start(lab: &Lab) -> Result<(Serving, Plane)> {
    let serving = Serving::start(lab, 4)?;
    let mut plane = Plane::on(lab)?;
    for protocol in [Port::tcp, Port::udp] {
        plane.publish(&protocol("lab/web:http").at([VIP]).to(serving.everywhere()))?;
        plane.publish(&protocol("lab/empty:http").at([EMPTY]))?;
    }
    Ok((serving, plane))
}

#[test]
fn point_19_a_multipath_tcp_socket_is_refused_where_there_is_no_backend() {
    lab::isolated_with(&[Need::Mptcp], |lab| {
        let (_serving, plane) = start(lab)?;
        let mut sockets = 0;
        for &family in lab.families()? {
            let refused = Socket::mptcp(family)?.connect(EMPTY.seen_by(family));
            assert_eq!(refused, Err(plane.refusal()), "{family:?}");
            sockets += 1;
            assert_eq!(plane.count(Counter::NoBackend)?, sockets, "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_19_data_that_is_sent_with_the_connect_is_refused_with_it() {
    lab::isolated(|lab| {
        let (serving, plane) = start(lab)?;
        for &family in lab.families()? {
            let socket = Socket::tcp(family)?;
            let refused = socket.fast_open(b"first", EMPTY.seen_by(family));
            assert_eq!(refused, Err(plane.refusal()), "{family:?}");
            assert_eq!(socket.peer(), Err(Errno::NOTCONN), "{family:?}");
            // It can still be used, and what was refused is not sent after all.
            socket.fast_open(b"again", VIP.seen_by(family))?;
            socket.identity()?;
            let mut echo = [0; 5];
            socket.receive_whole(&mut echo)?;
            assert_eq!(&echo, b"again", "{family:?}");
        }
        let families = lab.families()?.len() as u64;
        assert_eq!(plane.count(Counter::NoBackend)?, families);
        assert_eq!(serving.accepted().iter().sum::<u64>(), families);
        Ok(())
    });
}

#[test]
fn point_19_and_20_a_refused_connect_leaves_a_udp_socket_with_the_service_that_it_had() {
    lab::isolated(|lab| {
        let (_serving, plane) = start(lab)?;
        for &family in lab.families()? {
            let [vip, empty] = [VIP, EMPTY].map(|vip| vip.seen_by(family));
            // So often that a choice of its own would not be right by chance.
            for _ in 0..20 {
                let socket = Socket::udp(family)?;
                let backend = socket.ask(Way::Connected, b"?", vip)?.identity;
                assert_eq!(socket.connect(empty), Err(plane.refusal()), "{family:?}");
                assert_eq!(socket.peer(), Ok(vip), "{family:?}");
                socket.send(b"?")?;
                let plain = socket.receive_from()?;
                // What does not come from the peer, the kernel does not deliver.
                let named = socket.ask(Way::SendTo, b"?", vip)?;
                for answer in [plain, named] {
                    let seen = (answer.identity, answer.source);
                    assert_eq!(seen, (backend, Some(vip)), "{family:?}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn point_22_a_udp_socket_whose_next_connect_was_refused_is_closed_with_the_backend_that_it_had() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let [leaving, staying] = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [leaving.serve_udp([(PORT, 1)])?, staying.serve_udp([(PORT, 2)])?];
        let stage = Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))?;
        let dns = |pod: &Pod| Service::udp("dns", VIP).to([pod.dual(PORT)]);
        stage.apply(&dns(&leaving))?;
        stage.apply(&Service::udp("empty", EMPTY))?;
        let _agent = stage.start(&[])?;
        let refused = Err(refusal(Errno::CONNREFUSED)?);
        let mut sockets = Vec::new();
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            socket.connect(VIP.seen_by(family))?;
            assert_eq!(socket.connect(EMPTY.seen_by(family)), refused, "{family:?}");
            sockets.push((family, socket));
        }
        for (family, socket) in &sockets {
            expect_unharmed(socket, &format!("{family:?}"))?;
        }
        stage.apply(&dns(&staying))?;
        for (family, socket) in &sockets {
            wait_until_closed(socket, &format!("{family:?}"))?;
            let answer = socket.ask(Way::Connected, b"again", VIP.seen_by(*family))?;
            assert_eq!(answer.identity, 2, "{family:?}");
        }
        Ok(())
    });
}
