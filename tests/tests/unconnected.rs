//! Where the datagrams of an unconnected socket go while Services change: on to the backend that the
//! first one went to, as long as that is the Service's. Numbers in names are those of
//! docs/semantics.md.
#![forbid(unsafe_code)]

use lab::{
    exchange::Way,
    family::Dual,
    plane::Plane,
    port::{Port, cluster_ip},
    serving::Serving,
    socket::{Errno, Socket},
};
use lb_common::Counter;

const VIP: Dual = cluster_ip(10, 53);
const OTHER: Dual = cluster_ip(11, 53);
const NEXT: Dual = cluster_ip(12, 53);
const UNCONNECTED: [Way; 3] = [Way::SendTo, Way::SendMsg, Way::SendMmsg];

fn dns() -> Port {
    Port::udp("lab/dns:dns").at([VIP])
}

/// The backends with these indices.
fn some(serving: &Serving, indices: &[usize]) -> Vec<Dual> {
    indices.iter().map(|&index| serving.at(index)).collect()
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
