//! What is left alone, and what is refused because only a Service may have it. Numbers in names are
//! those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, UdpSocket},
    thread,
};

use anyhow::Result;
use lab::{
    Lab,
    exchange::Means,
    family::{Dual, Family},
    plane::Plane,
    port::{Port, cluster_ip},
    requirement::Need,
    serving::Serving,
    socket::Errno,
};
use lb_common::{
    Counter,
    layout::{Cidr4, Cidr6},
};
use lb_userspace::{
    dataplane::{Configuration, ServiceNetworks},
    model::FrontendKind,
    netns::current_cookie,
};

const VIP: Dual = cluster_ip(10, 80);
/// Another port of the same address.
const UNSERVED: Dual = cluster_ip(10, 81);
/// An address that no Service has.
const UNALLOCATED: Dual = cluster_ip(200, 80);
/// Neither of the Pods' network nor of the Services'.
const OUTSIDE: Dual =
    Dual::new(Ipv4Addr::new(10, 97, 0, 10), Ipv6Addr::new(0xfd00, 0x10, 0x97, 0, 0, 0, 0, 10), 80);

/// Refuses what is unserved in the network of [`cluster_ip`], behind another one that counts too.
fn refusing() -> Configuration {
    let cidr6 = |third: u8| {
        let mut cidr = Cidr6::default();
        cidr.address[..6].copy_from_slice(&[0xfd, 0, 0, 0x10, 0, third]);
        cidr.mask[..6].fill(255);
        cidr
    };
    let cidr4 = |second| Cidr4 { address: [10, second, 0, 0], mask: [255, 255, 0, 0] };
    Configuration {
        refuse: true,
        networks: ServiceNetworks {
            cidrs4: vec![cidr4(95), cidr4(96)],
            cidrs6: vec![cidr6(0x95), cidr6(0x96)],
        },
        ..Configuration::default()
    }
}

/// How each kind of socket of each family fares with an address.
fn fare(lab: &Lab, to: Dual) -> Result<Vec<Result<u16, Errno>>> {
    let families = lab.families()?.iter();
    let each = families.flat_map(|&family| Means::all().map(move |means| (family, means)));
    Ok(each.map(|(family, means)| Ok(means.ask(family, to.seen_by(family))?.identity)).collect())
}

/// Fails unless each kind of socket of each family fares like this.
fn expect(lab: &Lab, to: Dual, expected: Result<u16, Errno>) -> Result<()> {
    let fares = fare(lab, to)?;
    assert_eq!(fares, vec![expected; fares.len()], "{to:?}");
    Ok(())
}

/// What is left alone has no route.
const ALONE: Result<u16, Errno> = Err(Errno::NETUNREACH);

fn publish(plane: &mut Plane, change: impl Fn(Port) -> Port) -> Result<()> {
    for port in [Port::tcp("lab/web:http"), Port::udp("lab/web:http")] {
        plane.publish(&change(port.at([VIP])))?;
    }
    Ok(())
}

#[test]
fn point_16_a_node_port_on_127_0_0_1_is_the_hosts_alone() {
    const NODE_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 30_080);
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on(lab)?;
        for protocol in [Port::tcp, Port::udp] {
            let port = protocol("lab/web:http").at([NODE_PORT]).to(serving.everywhere());
            plane.publish(&port.kind(FrontendKind::NodePort).host_only())?;
        }
        let dual = Dual { v4: NODE_PORT, ..VIP };
        let pod = serving.pods[0].namespace();
        let (tcp, udp) =
            pod.run(|| anyhow::Ok((TcpListener::bind(NODE_PORT)?, UdpSocket::bind(NODE_PORT)?)))?;
        for &family in lab.families()?.iter().filter(|&&family| family != Family::V6) {
            let to = dual.seen_by(family);
            for means in Means::all() {
                let met = means.ask(family, to)?;
                assert_eq!((met.identity, met.peer), (0, to), "{family:?}, {means:?}");
                // In a Pod the address is the Pod's own.
                let inside = thread::scope(|scope| {
                    let asks = scope.spawn(|| pod.run(|| means.ask(family, to)));
                    match means {
                        Means::Tcp => tcp.accept()?.0.write_all(&[0, 99])?,
                        Means::Udp(_) => {
                            let mut answer = [0, 99, 0, 0, 0, 0];
                            let (_, from) = udp.recv_from(&mut answer[2..])?;
                            udp.send_to(&answer, from)?;
                        }
                    }
                    anyhow::Ok(asks.join().expect("it does not panic")?)
                })?;
                assert_eq!((inside.identity, inside.peer), (99, to), "{family:?}, {means:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_17_a_frontend_that_is_left_to_others_passes() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on_with(lab, |_| (), refusing())?;
        // Inside of a Service CIDR too: it is known, so it is not refused.
        publish(&mut plane, |port| port.to(serving.everywhere()).pass())?;
        expect(lab, VIP, ALONE)?;
        // Taken over, and left again, while sockets connect.
        publish(&mut plane, |port| port.to(serving.everywhere()))?;
        expect(lab, VIP, Ok(0))?;
        publish(&mut plane, |port| port.to(serving.everywhere()).pass())?;
        expect(lab, VIP, ALONE)?;
        assert_eq!(plane.count(Counter::Unserved)?, 0);
        Ok(())
    });
}

#[test]
fn point_18_what_only_a_service_may_have_is_refused() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on_with(lab, |_| (), refusing())?;
        publish(&mut plane, |port| port.to(serving.everywhere()))?;
        expect(lab, VIP, Ok(0))?;
        assert_eq!(plane.count(Counter::Unserved)?, 0);
        for (to, rounds) in [(UNSERVED, 1), (UNALLOCATED, 2)] {
            expect(lab, to, Err(plane.refusal()))?;
            let each = fare(lab, VIP)?.len() as u64;
            assert_eq!(plane.count(Counter::Unserved)?, rounds * each);
        }
        expect(lab, OUTSIDE, ALONE)?;
        // Pods are not in the CIDRs either.
        expect(lab, serving.at(0), Ok(0))?;
        // A Service that went is nobody's any more.
        publish(&mut plane, |port| port.to(serving.everywhere()))?;
        for protocol in [Port::tcp, Port::udp] {
            plane.withdraw(&protocol("lab/web:http").at([VIP]))?;
        }
        expect(lab, VIP, Err(plane.refusal()))?;
        // Neither is one of the other protocol.
        plane.publish(&Port::tcp("lab/web:http").at([VIP]).to(serving.everywhere()))?;
        for &family in lab.families()? {
            for means in Means::all() {
                let met = means.ask(family, VIP.seen_by(family)).map(|met| met.identity);
                let expected = if means == Means::Tcp { Ok(0) } else { Err(plane.refusal()) };
                assert_eq!(met, expected, "{family:?}, {means:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_18_it_is_off_unless_asked_for() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let configuration = Configuration { refuse: false, ..refusing() };
        for configuration in [Configuration::default(), configuration] {
            let mut plane = Plane::on_with(lab, |_| (), configuration)?;
            publish(&mut plane, |port| port.to(serving.everywhere()))?;
            for to in [UNSERVED, UNALLOCATED, OUTSIDE] {
                expect(lab, to, ALONE)?;
            }
            assert_eq!(plane.count(Counter::Unserved)?, 0);
        }
        Ok(())
    });
}

#[test]
fn point_18_what_another_proxy_serves_is_known_and_passes() {
    lab::isolated(|lab| {
        let mut plane = Plane::on_with(lab, |_| (), refusing())?;
        let known = Port::known("lab/theirs").at([Dual::new(*VIP.v4.ip(), *VIP.v6.ip(), 0)]);
        plane.publish(&known)?;
        // On every port.
        expect(lab, VIP, ALONE)?;
        expect(lab, UNSERVED, ALONE)?;
        expect(lab, UNALLOCATED, Err(plane.refusal()))?;
        plane.withdraw(&known)?;
        // What is idle deletes the keys of what is gone.
        plane.publisher.maintain(true)?;
        expect(lab, VIP, Err(plane.refusal()))?;
        Ok(())
    });
}

#[test]
fn point_18_a_namespace_that_opts_out_is_neither_translated_nor_refused() {
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = Plane::on_with(lab, |_| (), refusing())?;
        publish(&mut plane, |port| port.to(serving.everywhere()))?;
        let pod = serving.pods[0].namespace();
        let cookie = pod.run(current_cookie)?.expect("it was told before");
        let inside = |to| pod.run(|| fare(lab, to));
        let refused = Err(plane.refusal());
        let all = |fares: Vec<Result<u16, Errno>>, expected: Result<u16, Errno>| {
            assert_eq!(fares, vec![expected; fares.len()]);
        };
        for _ in 0..2 {
            plane.config.opt_out(&BTreeSet::from([cookie]))?;
            for to in [VIP, UNSERVED, UNALLOCATED] {
                // Routes to what is not in the laboratory end in the client's namespace.
                all(inside(to)?, ALONE);
            }
            expect(lab, VIP, Ok(0))?;
            expect(lab, UNSERVED, refused)?;
            plane.config.opt_out(&BTreeSet::new())?;
            all(inside(VIP)?, Ok(0));
            all(inside(UNSERVED)?, refused);
        }
        Ok(())
    });
}

#[test]
fn point_18_the_host_alone_is_balanced_and_refused_if_asked_for() {
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let serving = Serving::start(lab, 1)?;
        let host_scope = Configuration { host_scope: true, ..refusing() };
        let mut plane = Plane::on_with(lab, |_| (), host_scope)?;
        publish(&mut plane, |port| port.to(serving.everywhere()))?;
        expect(lab, VIP, Ok(0))?;
        expect(lab, UNSERVED, Err(plane.refusal()))?;
        for to in [VIP, UNSERVED] {
            let fares = serving.pods[0].namespace().run(|| fare(lab, to))?;
            assert_eq!(fares, vec![ALONE; fares.len()], "{to:?}");
        }
        Ok(())
    });
}
