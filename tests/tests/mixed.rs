//! One AF_INET6 UDP socket that talks to IPv6 and IPv4 addresses in turns: it is shown each in the
//! spelling that it used. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use lab::{
    family::{Dual, Family},
    plane::Plane,
    port::{Port, cluster_ip},
    requirement::Need,
    socket::Socket,
};
use lb_common::layout::PEERS;

/// The first port that the Pod's server answers at.
const FIRST: u16 = 9000;

#[test]
fn point_20_one_socket_is_shown_services_in_both_families_at_once() {
    // Each is asked in either family, so all that the socket remembers is in use.
    const SERVICES: u16 = PEERS as u16 / 2;
    lab::isolated_with(&[Need::Ipv6], |lab| {
        let mut plane = Plane::on(lab)?;
        let pod = lab.pod(1)?;
        let _server = pod.serve_udp((0..SERVICES).map(|index| (FIRST + index, index)))?;
        let mut asked: Vec<(u16, SocketAddr)> = Vec::new();
        for index in 0..SERVICES {
            let vip = cluster_ip(100 + index as u8, 53);
            let port = Port::udp(&format!("lab/many-{index}:dns")).at([vip]);
            plane.publish(&port.to([pod.dual(FIRST + index)]))?;
            asked.extend([Family::V6, Family::Mapped].map(|family| (index, vip.seen_by(family))));
        }
        let socket = Socket::udp(Family::V6)?;
        for round in 0..3 {
            // All questions before any answer, in another order each time.
            asked.rotate_left(round * 5);
            for (place, (_, vip)) in asked.iter().enumerate() {
                socket.send_to(&[place as u8], *vip)?;
            }
            let mut seen = vec![0; asked.len()];
            for _ in &asked {
                let answer = socket.receive_from()?;
                let [place] = answer.payload[..] else { panic!("{answer:?}") };
                let (index, vip) = asked[usize::from(place)];
                assert_eq!((answer.identity, answer.source), (index, Some(vip)));
                seen[usize::from(place)] += 1;
            }
            assert_eq!(seen, vec![1; asked.len()]);
        }
        Ok(())
    });
}

#[test]
fn point_20_one_socket_that_connects_to_both_families_in_turns_is_shown_each_service() {
    const VIP: Dual = cluster_ip(10, 53);
    lab::isolated_with(&[Need::Ipv6], |lab| {
        let mut plane = Plane::on(lab)?;
        let pods = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [pods[0].serve_udp([(FIRST, 4)])?, pods[1].serve_udp([(FIRST, 6)])?];
        // The families lead to different Pods, so that each answer says which of them was asked.
        let backend = Dual { v4: pods[0].socket(FIRST), v6: pods[1].socket6(FIRST) };
        plane.publish(&Port::udp("lab/dns:dns").at([VIP]).to([backend]))?;
        // From IPv4 the kernel delivers nothing to an address that an IPv6 connect() bound the socket to,
        // unless that is dissolved. What IPv4 brought then makes it lose what IPv6 brings: a socket
        // that has heard IPv4 is routed by it (udp_v6_early_demux() in net/ipv6/udp.c).
        for (dissolved, heard) in [(false, [true, false, true]), (true, [true, true, false])] {
            let socket = Socket::udp(Family::V6)?;
            let turns = [(Family::V6, 6), (Family::Mapped, 4), (Family::V6, 6)];
            for ((family, identity), heard) in turns.into_iter().zip(heard) {
                let vip = VIP.seen_by(family);
                socket.connect(vip)?;
                assert_eq!(socket.peer(), Ok(vip), "{family:?}, dissolved: {dissolved}");
                if heard {
                    socket.send(b"?")?;
                    let answer = socket.receive_from()?;
                    let seen = (answer.identity, answer.source);
                    assert_eq!(seen, (identity, Some(vip)), "{family:?}, dissolved: {dissolved}");
                }
                if dissolved {
                    socket.disconnect()?;
                }
            }
        }
        Ok(())
    });
}
