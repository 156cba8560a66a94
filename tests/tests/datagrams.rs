//! Where the datagrams of one UDP socket go: unconnected ones to one backend of each Service, those
//! of connected sockets to their peer, whatever else is said. Numbers in names are those of
//! docs/semantics.md.

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
    socket::{Errno, Socket},
};
use lb_common::Counter;

const VIP: Dual = cluster_ip(10, 53);
const OTHER: Dual = cluster_ip(11, 53);
const NEXT: Dual = cluster_ip(12, 53);
/// How long a datagram may take to be counted.
const PATIENCE: Duration = Duration::from_secs(5);
const UNCONNECTED: [Way; 3] = [Way::SendTo, Way::SendMsg, Way::SendMmsg];

fn dns() -> Port {
    Port::udp("lab/dns:dns").at([VIP])
}

/// The backends with these indices.
fn some(serving: &Serving, indices: &[usize]) -> Vec<Dual> {
    indices.iter().map(|&index| serving.at(index)).collect()
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
fn point_21_an_unconnected_socket_stays_on_its_backend_through_publications() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 6)?;
        let mut plane = Plane::on(lab)?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            plane.publish(&dns().to(serving.everywhere()))?;
            let socket = Socket::udp(family)?;
            let backend = usize::from(socket.ask(Way::SendTo, b"?", vip)?.identity);
            // Others come and go, before it and behind it, and it stands at another place each time.
            let others: Vec<usize> = (0..6).filter(|&index| index != backend).collect();
            for kept in [&others[..], &others[..2], &[], &others[3..], &others[1..4]] {
                let set: Vec<usize> = kept.iter().copied().chain([backend]).collect();
                plane.publish(&dns().to(some(&serving, &set)))?;
                for way in UNCONNECTED {
                    let answer = socket.ask(way, b"?", vip)?;
                    let seen = (usize::from(answer.identity), answer.source);
                    assert_eq!(seen, (backend, Some(vip)), "{family:?}, {way:?}, {set:?}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn point_21_an_unconnected_socket_leaves_a_backend_that_is_gone_and_stays_with_the_next() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let all: Vec<usize> = (0..4).collect();
            plane.publish(&dns().to(some(&serving, &all)))?;
            let socket = Socket::udp(family)?;
            let ask = || Ok::<_, Errno>(usize::from(socket.ask(Way::SendTo, b"?", vip)?.identity));
            let mut backend = ask()?;
            for _ in 0..8 {
                let rest: Vec<usize> = all.iter().copied().filter(|&b| b != backend).collect();
                plane.publish(&dns().to(some(&serving, &rest)))?;
                let next = ask()?;
                assert_ne!(next, backend, "{family:?}");
                // The one that was left comes back, and is no better than any.
                plane.publish(&dns().to(some(&serving, &all)))?;
                for _ in 0..8 {
                    assert_eq!(ask()?, next, "{family:?}");
                }
                backend = next;
            }
            plane.publish(&dns())?;
            assert_eq!(ask(), Err(plane.refusal()), "{family:?}");
            plane.publish(&dns().to(some(&serving, &[2])))?;
            assert_eq!(ask(), Ok(2), "{family:?}");
            plane.withdraw(&dns())?;
            assert_eq!(ask(), Err(Errno::NETUNREACH), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_21_a_socket_that_loses_its_place_to_another_service_at_the_address_is_translated_anew() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        let successor = Port::udp("lab/successor:dns").at([VIP]).to([serving.at(1)]);
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            plane.publish(&dns().to([serving.at(0)]))?;
            let socket = Socket::udp(family)?;
            assert_eq!(socket.ask(Way::SendTo, b"?", vip)?.identity, 0);
            plane.publish(&successor)?;
            assert_eq!(socket.ask(Way::SendTo, b"?", vip)?.identity, 1, "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_21_a_slot_that_went_to_another_frontend_of_the_service_says_nothing_of_the_old_one() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        let at = |vip: Dual| dns().at([vip]).to(serving.everywhere());
        plane.publish(&at(VIP))?;
        for &family in lab.families()? {
            plane.publish(&at(OTHER))?;
            let socket = Socket::udp(family)?;
            let other = OTHER.seen_by(family);
            assert_eq!(socket.ask(Way::SendTo, b"?", other)?.source, Some(other), "{family:?}");
            plane.withdraw(&at(OTHER))?;
            // The slot is free after that, and the next frontend takes it.
            plane.publisher.settle()?;
            plane.publish(&at(NEXT))?;
            for way in UNCONNECTED {
                let asked = socket.ask(way, b"?", other);
                assert_eq!(asked.map(|_| ()), Err(Errno::NETUNREACH), "{family:?}, {way:?}");
            }
            let next = NEXT.seen_by(family);
            assert_eq!(socket.ask(Way::SendTo, b"?", next)?.source, Some(next), "{family:?}");
            plane.withdraw(&at(NEXT))?;
            plane.publisher.settle()?;
        }
        Ok(())
    });
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
fn point_21_further_datagrams_are_not_counted() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 3)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&dns().to(serving.everywhere()))?;
        let mut sockets = 0;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            for _ in 0..10 {
                socket.ask(Way::SendTo, b"?", VIP.seen_by(family))?;
            }
            sockets += 1;
            assert_eq!(plane.count(Counter::Translated)?, sockets, "{family:?}");
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
