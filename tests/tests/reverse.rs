//! Which peer a socket is shown: the Service that it asked for, and the truth where it asked for a
//! Pod. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener};

use anyhow::Result;
use lab::{
    Lab,
    exchange::{Means, Way},
    family::{Dual, Family, mapped},
    plane::Plane,
    pod::{CLIENT, CLIENT6, Pod},
    port::{Port, cluster_ip},
    requirement::Need,
    server::Server,
    serving::Serving,
    socket::{Errno, Socket},
};
use lb_common::layout::PEERS;
use lb_userspace::dataplane::{Configuration, Origins, Settings};

const VIP: Dual = cluster_ip(10, 80);
const OTHER: Dual = cluster_ip(11, 81);

/// A Service of this address, over TCP and UDP.
fn publish(plane: &mut Plane, name: &str, vip: Dual, backends: &[Dual]) -> Result<()> {
    for protocol in [Port::tcp, Port::udp] {
        plane.publish(&protocol(name).at([vip]).to(backends.iter().copied()))?;
    }
    Ok(())
}

/// The address that the server's answer to a plain `send()` seems to come from.
fn source(socket: &Socket) -> Result<Option<SocketAddr>, Errno> {
    socket.send(b"?")?;
    Ok(socket.receive_from()?.source)
}

#[test]
fn point_20_each_kind_of_socket_is_shown_the_service() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        publish(&mut plane, "lab/web:http", VIP, &serving.everywhere())?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            for means in Means::all() {
                assert_eq!(means.ask(family, vip)?.peer, vip, "{family:?}, {means:?}");
            }
            // getpeername() tells what recvfrom() tells.
            let socket = Socket::udp(family)?;
            socket.connect(vip)?;
            assert_eq!((socket.peer(), source(&socket)), (Ok(vip), Ok(Some(vip))), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_20_a_udp_socket_that_is_connected_elsewhere_is_shown_the_truth() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        // One backend, which is then connected to directly: the same peer, asked for by its name.
        publish(&mut plane, "lab/web:http", VIP, &[serving.at(0)])?;
        publish(&mut plane, "lab/other:http", OTHER, &[serving.at(0)])?;
        for &family in lab.families()? {
            let [vip, other] = [VIP, OTHER].map(|vip| vip.seen_by(family));
            let [backend, elsewhere] = [0, 1].map(|index| serving.at(index).seen_by(family));
            let socket = Socket::udp(family)?;
            for to in [vip, elsewhere, vip, backend, other, vip, backend] {
                socket.connect(to)?;
                let shown = (socket.peer(), source(&socket));
                assert_eq!(shown, (Ok(to), Ok(Some(to))), "{family:?}");
            }
            // Dissolved, and then connected directly.
            socket.connect(vip)?;
            socket.disconnect()?;
            assert_eq!(socket.peer(), Err(Errno::NOTCONN), "{family:?}");
            let answer = socket.ask(Way::SendTo, b"?", backend)?;
            assert_eq!(answer.source, Some(backend), "{family:?}, dissolved");
            socket.connect(backend)?;
            let shown = (socket.peer(), source(&socket));
            assert_eq!(shown, (Ok(backend), Ok(Some(backend))), "{family:?}, dissolved");
        }
        Ok(())
    });
}

#[test]
fn point_20_a_tcp_socket_that_is_connected_elsewhere_is_shown_the_truth() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        publish(&mut plane, "lab/web:http", VIP, &[serving.at(0)])?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let [backend, elsewhere] = [0, 1].map(|index| serving.at(index).seen_by(family));
            let socket = Socket::tcp(family)?;
            for (to, identity) in [(vip, 0), (backend, 0), (vip, 0), (elsewhere, 1), (vip, 0)] {
                socket.connect(to)?;
                let seen = (socket.peer(), socket.identity());
                assert_eq!(seen, (Ok(to), Ok(identity)), "{family:?}");
                socket.disconnect()?;
                assert_eq!(socket.peer(), Err(Errno::NOTCONN), "{family:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_20_an_accepted_connection_is_shown_its_client() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        for &family in lab.families()? {
            let here = Dual::new(CLIENT, CLIENT6, 80).seen_by(family);
            let listener = TcpListener::bind(here)?;
            let client = serving.pods[0].namespace().run(|| {
                let socket = Socket::tcp(family)?;
                socket.connect(here)?;
                Ok::<_, Errno>(socket)
            })?;
            // Whoever connects may be a backend too.
            let backend = serving.pods[0].dual(client.local()?.port());
            publish(&mut plane, "lab/web:http", VIP, &[backend])?;
            let (accepted, _) = listener.accept()?;
            assert_eq!(accepted.peer_addr()?, backend.seen_by(family));
        }
        Ok(())
    });
}

#[test]
fn point_20_a_udp_socket_that_knew_a_backend_by_its_service_may_connect_to_it_directly() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        publish(&mut plane, "lab/web:http", VIP, &[serving.at(0)])?;
        for &family in lab.families()? {
            let (vip, backend) = (VIP.seen_by(family), serving.at(0).seen_by(family));
            let socket = Socket::udp(family)?;
            assert_eq!(socket.ask(Way::SendTo, b"?", vip)?.source, Some(vip), "{family:?}");
            socket.connect(backend)?;
            let shown = (socket.peer(), source(&socket));
            assert_eq!(shown, (Ok(backend), Ok(Some(backend))), "{family:?}");
            socket.disconnect()?;
            assert_eq!(socket.ask(Way::SendTo, b"?", vip)?.source, Some(vip), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_20_an_ipv6_udp_socket_that_is_told_plain_ipv4_addresses_is_shown_mapped_ones() {
    lab::isolated_with(&[Need::Ipv6], |lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        publish(&mut plane, "lab/web:http", VIP, &serving.everywhere())?;
        for means in Way::ALL.map(Means::Udp) {
            assert_eq!(means.ask(Family::V6, VIP.v4)?.peer, mapped(VIP.v4), "{means:?}");
        }
        Ok(())
    });
}

/// As many Services as one unconnected socket remembers, and one more. Each has a backend of its
/// own.
fn many(lab: &Lab, plane: &mut Plane) -> Result<(Vec<Dual>, Pod, Server)> {
    let pod = lab.pod(1)?;
    let ports = (0..=PEERS as u16).map(|index| (9000 + index, index));
    let server = pod.serve_udp(ports.clone())?;
    let mut vips = Vec::new();
    for (port, index) in ports {
        let vip = cluster_ip(100 + index as u8, 53);
        plane
            .publish(&Port::udp(&format!("lab/many-{index}:dns")).at([vip]).to([pod.dual(port)]))?;
        vips.push(vip);
    }
    Ok((vips, pod, server))
}

#[test]
fn point_20_one_unconnected_socket_is_shown_sixteen_services() {
    lab::isolated(|lab| {
        let mut plane = Plane::on(lab)?;
        let (vips, _pod, _server) = many(lab, &mut plane)?;
        let vips = &vips[..PEERS];
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            for _ in 0..3 {
                // All questions before any answer.
                for (index, vip) in vips.iter().enumerate() {
                    socket.send_to(&[index as u8], vip.seen_by(family))?;
                }
                for _ in vips {
                    let answer = socket.receive_from()?;
                    let index = usize::from(answer.identity);
                    assert_eq!(answer.payload, [index as u8], "{family:?}");
                    assert_eq!(answer.source, Some(vips[index].seen_by(family)), "{family:?}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn point_20_a_seventeenth_takes_the_place_of_the_service_that_is_unused_for_longest() {
    lab::isolated(|lab| {
        let mut plane = Plane::on(lab)?;
        let (vips, pod, _server) = many(lab, &mut plane)?;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            let ask = |index: usize| socket.ask(Way::SendTo, b"?", vips[index].seen_by(family));
            for index in 0..PEERS {
                ask(index)?;
            }
            // The first was used again, so the second is the one. Its answer is on its way.
            socket.send_to(b"late", vips[1].seen_by(family))?;
            assert_eq!(socket.peek(), Ok(1));
            for index in (0..PEERS).filter(|&index| index != 1) {
                socket.send_to(b"?", vips[index].seen_by(family))?;
            }
            socket.send_to(b"?", vips[PEERS].seen_by(family))?;
            let late = socket.receive_from()?;
            assert_eq!((late.identity, late.payload.as_slice()), (1, b"late".as_slice()));
            let truth = pod.dual(9001).seen_by(family);
            assert_eq!(late.source, Some(truth), "{family:?}: its backend's");
            for _ in 0..PEERS {
                let answer = socket.receive_from()?;
                let vip = vips[usize::from(answer.identity)].seen_by(family);
                assert_eq!(answer.source, Some(vip), "{family:?}");
            }
            // Asked again, it is shown again.
            assert_eq!(ask(1)?.source, Some(vips[1].seen_by(family)), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_20_two_services_on_one_backend_are_told_apart_by_the_last_that_was_asked() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        publish(&mut plane, "lab/web:http", VIP, &[serving.at(0)])?;
        publish(&mut plane, "lab/other:http", OTHER, &[serving.at(0)])?;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            for vip in [VIP, OTHER, VIP].map(|vip| vip.seen_by(family)) {
                assert_eq!(socket.ask(Way::SendTo, b"?", vip)?.source, Some(vip), "{family:?}");
            }
        }
        Ok(())
    });
}

/// What TCP, connected and unconnected UDP sockets are shown under these settings.
fn expect_shown(differ: fn(&mut Settings), tcp: bool, udp: bool, noted: usize) {
    lab::isolated_with(&[Need::Origins], |lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on_with(lab, differ, Configuration::default())?;
        publish(&mut plane, "lab/web:http", VIP, &serving.everywhere())?;
        for &family in lab.families()? {
            let (vip, backend) = (VIP.seen_by(family), serving.at(0).seen_by(family));
            for means in Means::all() {
                let service = if means == Means::Tcp { tcp } else { udp };
                let expected = if service { vip } else { backend };
                assert_eq!(means.ask(family, vip)?.peer, expected, "{family:?}, {means:?}");
            }
        }
        // Whatever they are shown, what is needed to close them is remembered.
        let (tcp, udp) = (Socket::tcp(Family::V4)?, Socket::udp(Family::V4)?);
        let cookies = [tcp.cookie()?, udp.cookie()?];
        tcp.connect(VIP.v4)?;
        udp.connect(VIP.v4)?;
        let origins = plane.object.origins(Origins::All)?.read()?;
        let ours = origins.iter().filter(|origin| cookies.contains(&origin.socket)).count();
        assert_eq!(ours, noted);
        Ok(())
    });
}

#[test]
fn point_20_sockets_are_shown_the_truth_if_asked_for() {
    expect_shown(|settings| settings.reverse = false, false, false, 2);
}

#[test]
fn point_20_tcp_sockets_alone_are_shown_the_truth_if_asked_for() {
    expect_shown(|settings| settings.reverse_tcp = false, false, true, 2);
}

#[test]
fn point_20_tcp_sockets_remember_nothing_if_asked_for() {
    expect_shown(|settings| settings.note_tcp = false, false, true, 1);
}
