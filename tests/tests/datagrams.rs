//! Where the datagrams of one UDP socket go that is connected, was, or sends straight to a Pod too, and
//! with control data. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lab::{
    exchange::Way,
    family::{Dual, Family},
    plane::Plane,
    port::{Port, cluster_ip},
    serving::Serving,
    socket::Socket,
};

const VIP: Dual = cluster_ip(10, 53);
const OTHER: Dual = cluster_ip(11, 53);
/// How long a datagram may take to be counted.
const PATIENCE: Duration = Duration::from_secs(30);
const UNCONNECTED: [Way; 3] = [Way::SendTo, Way::SendMsg, Way::SendMmsg];

fn dns() -> Port {
    Port::udp("lab/dns:dns").at([VIP])
}

/// Waits until the Pods have taken so many datagrams.
fn expect_taken(serving: &Serving, expected: &[u64]) -> Result<()> {
    let start = Instant::now();
    while serving.taken() != expected {
        let taken = serving.taken();
        ensure!(start.elapsed() < PATIENCE, "taken: {taken:?}, expected: {expected:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn point_21_control_data_leads_nowhere_else() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to(serving.everywhere()))?;
        plane.publish(&Port::udp("lab/other:dns").at([OTHER]).to(serving.everywhere()))?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let socket = Socket::udp(family)?;
            let backend = socket.ask(Way::SendTo, b"?", OTHER.seen_by(family))?.identity;
            for _ in 0..8 {
                socket.send_with_control(b"?", Some(OTHER.seen_by(family)))?;
                let answer = socket.receive_from()?;
                let seen = (answer.identity, answer.source);
                assert_eq!(seen, (backend, Some(OTHER.seen_by(family))), "{family:?}");
            }
            // Without a name the hook sees no address.
            let peer = socket.ask(Way::ConnectedFrom, b"?", vip)?.identity;
            for _ in 0..8 {
                socket.send_with_control(b"?", None)?;
                let answer = socket.receive_from()?;
                assert_eq!((answer.identity, answer.source), (peer, Some(vip)), "{family:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_21_a_connected_socket_that_names_its_service_sends_to_its_peer() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to(serving.everywhere()))?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            // So often that a choice of its own would not be right by chance.
            for _ in 0..20 {
                let socket = Socket::udp(family)?;
                let backend = socket.ask(Way::Connected, b"?", vip)?.identity;
                for way in UNCONNECTED {
                    // What does not come from the peer, the kernel does not deliver.
                    let answer = socket.ask(way, b"?", vip)?;
                    assert_eq!((answer.identity, answer.source), (backend, Some(vip)));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn point_21_a_connected_socket_may_send_to_another_service_and_to_a_pod() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 3)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to([serving.at(0)]))?;
        plane.publish(&Port::udp("lab/other:dns").at([OTHER]).to([serving.at(1)]))?;
        let mut rounds = 0;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            let vip = VIP.seen_by(family);
            socket.connect(vip)?;
            // Answers to these are not delivered: they do not come from the peer.
            socket.send_to(b"service", OTHER.seen_by(family))?;
            socket.send_to(b"pod", serving.at(2).seen_by(family))?;
            rounds += 1;
            socket.send(b"peer")?;
            assert_eq!(socket.receive_from()?.source, Some(vip), "{family:?}");
            assert_eq!(socket.peer(), Ok(vip), "{family:?}");
            expect_taken(&serving, &[rounds; 3])?;
        }
        Ok(())
    });
}

#[test]
fn point_21_what_goes_to_the_peer_is_not_translated_twice() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to([serving.at(0)]))?;
        // The backend's own address is a Service's too: whoever is told to go there would end
        // elsewhere. An AF_INET6 socket with an IPv4 peer meets a hook even with a plain send().
        plane.publish(&Port::udp("lab/trap:dns").at([serving.at(0)]).to([serving.at(1)]))?;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            let (vip, backend) = (VIP.seen_by(family), serving.at(0).seen_by(family));
            assert_eq!(socket.ask(Way::Connected, b"?", vip)?.identity, 0, "{family:?}");
            for to in [vip, backend] {
                assert_eq!(socket.ask(Way::SendTo, b"?", to)?.identity, 0, "{family:?}, {to}");
            }
            // It is a trap indeed, for others.
            let other = Socket::udp(family)?;
            assert_eq!(other.ask(Way::SendTo, b"?", backend)?.identity, 1, "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_21_datagrams_straight_to_a_pod_are_untouched() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to([serving.at(0)]))?;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            // One socket, to the Service and past it, in turns.
            for (to, identity) in [(serving.at(1), 1), (VIP, 0), (serving.at(1), 1), (VIP, 0)] {
                let to = to.seen_by(family);
                for way in UNCONNECTED {
                    let answer = socket.ask(way, b"?", to)?;
                    let seen = (answer.identity, answer.source);
                    assert_eq!(seen, (identity, Some(to)), "{family:?}, {way:?}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn point_21_a_dissolved_socket_is_bound_to_nothing() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        let mut rounds = 0;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            plane.publish(&dns().to([serving.at(0)]))?;
            let socket = Socket::udp(family)?;
            assert_eq!(socket.ask(Way::Connected, b"?", vip)?.identity, 0);
            socket.disconnect()?;
            plane.publish(&dns().to([serving.at(1)]))?;
            socket.send_to(b"?", vip)?;
            rounds += 1;
            expect_taken(&serving, &[rounds; 2])?;
            // The kernel lets an AF_INET6 socket that was connected once hear that peer alone, even
            // after it was dissolved (__udp_disconnect() leaves sk_v6_daddr as it is).
            if family == Family::V4 {
                let answer = socket.receive_from()?;
                assert_eq!((answer.identity, answer.source), (1, Some(vip)));
            }
        }
        Ok(())
    });
}

#[test]
fn point_25a_what_comes_straight_from_a_known_backend_shows_its_service() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to([serving.at(0)]))?;
        for &family in lab.families()? {
            let (vip, backend) = (VIP.seen_by(family), serving.at(0).seen_by(family));
            let socket = Socket::udp(family)?;
            for (to, shown) in [(backend, backend), (vip, vip), (backend, vip)] {
                let answer = socket.ask(Way::SendTo, b"?", to)?;
                assert_eq!(answer.source, Some(shown), "{family:?}, {to}");
            }
        }
        Ok(())
    });
}
