//! Where sockets that meet a Service go, in each family and over each kind of socket, on the real
//! kernel. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use anyhow::Result;
use lab::{
    Lab,
    exchange::{Means, Way},
    family::{Dual, Family},
    plane::Plane,
    pod::Pod,
    port::{Port, cluster_ip},
    serving::{PORT, Serving},
    socket::{Errno, Socket},
};
use lb_common::{AGENT_PRIORITY, Counter};
use socket2::SockRef;

const VIP: Dual = cluster_ip(10, 80);

/// Each family with each kind of socket.
fn combinations(lab: &Lab) -> Result<impl Iterator<Item = (Family, Means)>> {
    let families = lab.families()?.iter();
    Ok(families.flat_map(|&family| Means::KINDS.map(|means| (family, means))))
}

/// A Service, over TCP and over UDP.
fn both(name: &str) -> [Port; 2] {
    [Port::tcp(name), Port::udp(name)].map(|port| port.at([VIP]))
}

/// So many Pods, and a Service over TCP and UDP that leads to all of them.
fn serve(lab: &Lab, pods: u8) -> Result<(Serving, Plane)> {
    let serving = Serving::start(lab, pods)?;
    let mut plane = Plane::on(lab)?;
    for port in both("lab/web:http") {
        plane.publish(&port.to(serving.everywhere()))?;
    }
    Ok((serving, plane))
}

#[test]
fn point_4_a_port_answers_its_own_protocol_alone() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        let [tcp, udp, shared] = [1, 2, 3].map(|index| cluster_ip(index, 53));
        plane.publish(&Port::tcp("lab/tcp:dns").at([tcp]).to([serving.at(0)]))?;
        plane.publish(&Port::udp("lab/udp:dns").at([udp]).to([serving.at(1)]))?;
        plane.publish(&Port::tcp("lab/dns:tcp").at([shared]).to([serving.at(0)]))?;
        plane.publish(&Port::udp("lab/dns:udp").at([shared]).to([serving.at(1)]))?;
        for (family, means) in combinations(lab)? {
            let ask = |vip: Dual| means.ask(family, vip.seen_by(family)).map(|met| met.identity);
            // There is no route to what is left alone.
            let (of_tcp, of_udp) = match means {
                Means::Tcp => (Ok(0), Err(Errno::NETUNREACH)),
                Means::Udp(_) => (Err(Errno::NETUNREACH), Ok(1)),
            };
            assert_eq!((ask(tcp), ask(udp)), (of_tcp, of_udp), "{family:?}, {means:?}");
            assert_eq!(ask(shared), of_tcp.or(of_udp), "{family:?}, {means:?}");
        }
        Ok(())
    });
}

#[test]
fn point_8_each_family_leads_to_its_own_backends() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let mut plane = Plane::on(lab)?;
        let single = cluster_ip(11, 80);
        let without = cluster_ip(12, 80);
        for protocol in [Port::tcp, Port::udp] {
            let backends = [serving.at(0).v4.into(), serving.at(1).v6.into()];
            plane.publish(
                &protocol("lab/dual:http").at([VIP]).to::<std::net::SocketAddr>(backends),
            )?;
            plane.publish(&protocol("lab/single:http").at([single.v4]).to([serving.at(0)]))?;
            plane.publish(&protocol("lab/without:http").at([without]).to([serving.at(0).v4]))?;
        }
        for (family, means) in combinations(lab)? {
            let ask = |vip: Dual| means.ask(family, vip.seen_by(family)).map(|met| met.identity);
            let seen = [VIP, single, without].map(ask);
            let expected = if family == Family::V6 {
                [Ok(1), Err(Errno::NETUNREACH), Err(plane.refusal())]
            } else {
                [Ok(0); 3]
            };
            assert_eq!(seen, expected, "{family:?}, {means:?}");
        }
        Ok(())
    });
}

/// Asks so many times, and fails if the backends' shares are further apart than chance explains.
fn expect_equal_shares(family: Family, means: Means, asks: u32) -> Result<()> {
    // Sums of 0 and 1 that come out further off are one in a billion.
    const DEVIATIONS: f64 = 6.0;
    let mut counts = [0u32; 3];
    for _ in 0..asks {
        counts[usize::from(means.ask(family, VIP.seen_by(family))?.identity)] += 1;
    }
    // A binomial distribution's standard deviation: √(n·p·(1-p)).
    let (n, p) = (f64::from(asks), 1.0 / 3.0);
    let deviation = (n * p * (1.0 - p)).sqrt();
    for count in counts {
        let off = (f64::from(count) - n * p).abs() / deviation;
        assert!(off < DEVIATIONS, "{family:?}, {means:?}: {counts:?}, {off:.1} deviations off");
    }
    Ok(())
}

#[test]
fn point_28_a_socket_of_the_agents_own_is_left_alone() {
    lab::isolated(|lab| {
        let _served = serve(lab, 1)?;
        for &family in lab.families()? {
            for new in [Socket::tcp, Socket::udp] {
                let connect = |priority| {
                    let socket = new(family)?;
                    SockRef::from(&socket).set_priority(priority)?;
                    let connected = socket.connect(VIP.seen_by(family));
                    anyhow::Ok(connected)
                };
                assert_eq!(connect(AGENT_PRIORITY)?, Err(Errno::NETUNREACH), "{family:?}");
                assert_eq!(connect(AGENT_PRIORITY + 1)?, Ok(()), "{family:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_14_every_backend_has_the_same_chance() {
    const CONNECTS: u32 = 10_000;
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 3)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&Port::tcp("lab/web:http").at([VIP]).to(serving.everywhere()))?;
        expect_equal_shares(Family::V4, Means::Tcp, CONNECTS)?;
        assert_eq!(serving.accepted().iter().sum::<u64>(), u64::from(CONNECTS));
        assert_eq!(plane.count(Counter::Translated)?, u64::from(CONNECTS));
        Ok(())
    });
}

#[test]
fn point_14_every_backend_has_the_same_chance_over_each_kind_of_socket() {
    const ASKS: u32 = 1_000;
    lab::isolated(|lab| {
        let (_serving, plane) = serve(lab, 3)?;
        let mut asks = 0;
        for (family, means) in combinations(lab)? {
            expect_equal_shares(family, means, ASKS)?;
            asks += u64::from(ASKS);
        }
        assert_eq!(plane.count(Counter::Translated)?, asks);
        Ok(())
    });
}

#[test]
fn point_19_without_a_backend_a_socket_is_refused_at_once() {
    lab::isolated(|lab| {
        let mut plane = Plane::on(lab)?;
        for port in both("lab/web:http") {
            plane.publish(&port)?;
        }
        let mut refused = 0;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let (connected, other) = (Socket::udp(family)?, Socket::udp(family)?);
            let seen = [
                Socket::tcp(family)?.connect(vip),
                connected.connect(vip),
                other.send_to(b"?", vip),
                other.send_msg(b"?", vip),
                other.send_mmsg(b"?", vip),
            ];
            assert_eq!(seen, [Err(plane.refusal()); 5], "{family:?}");
            assert_eq!(connected.peer(), Err(Errno::NOTCONN));
            refused += 5;
            assert_eq!(plane.count(Counter::NoBackend)?, refused);
        }
        assert_eq!(plane.count(Counter::Translated)?, 0);
        Ok(())
    });
}

#[test]
fn point_23_an_established_connection_survives_the_removal_of_its_service() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        let web = Port::tcp("lab/web:http").at([VIP]).to(serving.everywhere());
        for &family in lab.families()? {
            plane.publish(&web)?;
            let vip = VIP.seen_by(family);
            let socket = Socket::tcp(family)?;
            socket.connect(vip)?;
            assert_eq!(socket.identity(), Ok(0));
            let still_there = |payload: &[u8; 5]| {
                socket.send(payload)?;
                let mut echo = [0; 5];
                socket.receive_whole(&mut echo)?;
                assert_eq!(&echo, payload, "{family:?}");
                assert_eq!(socket.peer(), Ok(vip), "{family:?}");
                Ok::<_, Errno>(())
            };
            plane.publish(&web.clone().to::<Dual>([]))?;
            still_there(b"first")?;
            plane.withdraw(&web)?;
            still_there(b"after")?;
            assert_eq!(Socket::tcp(family)?.connect(vip), Err(Errno::NETUNREACH));
        }
        Ok(())
    });
}

#[test]
fn point_24_a_pod_may_be_sent_to_itself() {
    lab::isolated(|lab| {
        let (serving, _plane) = serve(lab, 1)?;
        for &family in lab.families()? {
            for means in Means::all() {
                let vip = VIP.seen_by(family);
                let met = serving.pods[0].namespace().run(|| means.ask(family, vip))?;
                assert_eq!((met.identity, met.peer), (0, vip), "{family:?}, {means:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_25_what_is_no_frontend_is_untouched() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let pod: &Pod = &serving.pods[0];
        // The Pod's own port 80 is another server than the Service's.
        let _servers = (pod.serve([(80, 9)])?, pod.serve_udp([(80, 9)])?);
        let mut plane = Plane::on(lab)?;
        for port in both("lab/web:http") {
            plane.publish(&port.to(serving.everywhere()))?;
        }
        for (family, means) in combinations(lab)? {
            for (port, identity) in [(PORT, 0), (80, 9)] {
                let there = pod.dual(port).seen_by(family);
                let met = means.ask(family, there)?;
                assert_eq!((met.identity, met.peer), (identity, there), "{family:?}, {means:?}");
            }
            for elsewhere in [cluster_ip(10, 81), cluster_ip(11, 80)] {
                // No route, as without socklb.
                let outcome = means.ask(family, elsewhere.seen_by(family));
                assert_eq!(outcome, Err(Errno::NETUNREACH), "{family:?}, {means:?}, {elsewhere:?}");
            }
        }
        assert_eq!(plane.count(Counter::Translated)?, 0);
        Ok(())
    });
}

#[test]
fn dropping_the_plane_leaves_sockets_alone() {
    lab::isolated(|lab| {
        let (_serving, plane) = serve(lab, 1)?;
        let vip = VIP.seen_by(Family::V4);
        let socket = Socket::udp(Family::V4)?;
        assert_eq!(socket.ask(Way::SendTo, b"?", vip)?.identity, 0);
        drop(plane);
        assert_eq!(socket.send_to(b"?", vip), Err(Errno::NETUNREACH), "what it knew is gone");
        for means in Means::KINDS {
            assert_eq!(means.ask(Family::V4, vip), Err(Errno::NETUNREACH), "{means:?}");
        }
        Ok(())
    });
}
