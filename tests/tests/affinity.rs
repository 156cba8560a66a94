//! Session affinity: a client, which is a network namespace, stays with its backend. Numbers in
//! names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use lab::{
    exchange::Means,
    family::{Dual, Family},
    plane::Plane,
    port::{Port, cluster_ip},
    serving::Serving,
    socket::Errno,
};
use lb_userspace::{
    dataplane::{Configuration, Settings},
    model::FrontendKind,
    publish::Sizes,
};

const VIP: Dual = cluster_ip(10, 80);
/// Far beyond any test.
const LONG: u32 = 10_800;
/// Asks that would not all meet the same of four backends by chance: 4⁻³¹.
const ASKS: usize = 32;

fn web() -> Port {
    Port::tcp("lab/web:http").at([VIP]).affinity(LONG)
}

/// Whom so many sockets meet.
fn met(family: Family, means: Means, vip: Dual) -> Result<BTreeSet<u16>, Errno> {
    (0..ASKS).map(|_| Ok(means.ask(family, vip.seen_by(family))?.identity)).collect()
}

/// The only one whom so many sockets meet.
fn only(family: Family, means: Means, vip: Dual) -> Result<u16> {
    let met = met(family, means, vip)?;
    ensure!(met.len() == 1, "{family:?}, {means:?}: {met:?} instead of one");
    Ok(*met.first().expect("there is one"))
}

#[test]
fn point_15_a_client_stays_with_its_backend_over_each_kind_of_socket() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        let udp = Port::udp("lab/web:http").at([VIP]).affinity(LONG);
        for port in [web(), udp] {
            plane.publish(&port.to(serving.everywhere()))?;
        }
        for &family in lab.families()? {
            only(family, Means::Tcp, VIP)?;
            let mut datagrams = BTreeSet::new();
            for means in Means::all().filter(|&means| means != Means::Tcp) {
                datagrams.insert(only(family, means, VIP)?);
            }
            assert_eq!(datagrams.len(), 1, "{family:?}: connected or not, a port is a port");
        }
        // A mapped address is the IPv4 address, and meets the same backend.
        if lab.has_ipv6() {
            let [v4, mapped] = [Family::V4, Family::Mapped].map(|f| only(f, Means::Tcp, VIP));
            assert_eq!(v4?, mapped?);
        }
        Ok(())
    });
}

#[test]
fn point_15_a_client_is_a_network_namespace() {
    const PODS: u8 = 24;
    lab::isolated(|lab| {
        let serving = Serving::start(lab, PODS)?;
        let mut plane = Plane::on(lab)?;
        plane.publish(&web().to(serving.everywhere()))?;
        for &family in lab.families()?.iter().filter(|&&family| family != Family::Mapped) {
            let clients = || -> Result<Vec<u16>> {
                let pods = serving.pods.iter();
                pods.map(|pod| pod.namespace().run(|| only(family, Means::Tcp, VIP))).collect()
            };
            let first = clients()?;
            let host = only(family, Means::Tcp, VIP)?;
            assert_eq!(clients()?, first, "{family:?}: each stays, whatever others do");
            assert_eq!(only(family, Means::Tcp, VIP)?, host, "{family:?}");
            // All 24 with the same by chance: 24⁻²³.
            let chosen: BTreeSet<_> = first.iter().collect();
            assert!(chosen.len() > 1, "{family:?}: each chooses for itself");
        }
        Ok(())
    });
}

#[test]
fn point_15_a_client_stays_across_all_frontends_of_a_port_and_no_further() {
    const OTHERS: u8 = 32;
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        let [second, balancer, node] =
            [cluster_ip(11, 80), cluster_ip(12, 8080), cluster_ip(13, 30_080)];
        let all = serving.everywhere();
        plane.publish(&web().at([VIP, second]).to(all.clone()))?;
        for (at, kind) in [(balancer, FrontendKind::LoadBalancer), (node, FrontendKind::NodePort)] {
            plane.publish(&web().at([at]).kind(kind).to(all.clone()))?;
        }
        for &family in lab.families()? {
            let backend = only(family, Means::Tcp, VIP)?;
            for frontend in [second, balancer, node] {
                assert_eq!(only(family, Means::Tcp, frontend)?, backend, "{family:?}");
            }
        }
        // Other ports choose for themselves.
        let others: Vec<_> = (0..OTHERS).map(|index| cluster_ip(100 + index, 80)).collect();
        let mut met = BTreeSet::new();
        for (index, other) in others.into_iter().enumerate() {
            let name = format!("lab/other-{index}:http");
            plane.publish(&Port::tcp(&name).at([other]).affinity(LONG).to(all.clone()))?;
            met.insert(only(Family::V4, Means::Tcp, other)?);
        }
        assert!(met.len() > 1, "all with {met:?}");
        Ok(())
    });
}

#[test]
fn point_15_it_is_switched_on_and_off_while_clients_connect() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        let web = web().to(serving.everywhere());
        for &family in lab.families()? {
            for _ in 0..2 {
                plane.publish(&web.clone().affinity(0))?;
                assert!(met(family, Means::Tcp, VIP)?.len() > 1, "{family:?}: off");
                plane.publish(&web)?;
                only(family, Means::Tcp, VIP)?;
            }
        }
        Ok(())
    });
}

#[test]
fn point_15_a_client_leaves_a_backend_that_is_gone_and_stays_with_the_next() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        for &family in lab.families()? {
            plane.publish(&web().to(serving.everywhere()))?;
            let mut backend = only(family, Means::Tcp, VIP)?;
            for _ in 0..4 {
                let mut rest = serving.everywhere();
                rest.remove(backend.into());
                plane.publish(&web().to(rest))?;
                let next = only(family, Means::Tcp, VIP)?;
                assert_ne!(next, backend, "{family:?}");
                // It comes back, and the client stays where it is now.
                plane.publish(&web().to(serving.everywhere()))?;
                assert_eq!(only(family, Means::Tcp, VIP)?, next, "{family:?}");
                // So it does when its backend stands at another place among the others.
                plane.publish(&web().to([serving.at(next.into())]))?;
                assert_eq!(only(family, Means::Tcp, VIP)?, next, "{family:?}");
                plane.publish(&web().to(serving.everywhere()))?;
                assert_eq!(only(family, Means::Tcp, VIP)?, next, "{family:?}");
                backend = next;
            }
            plane.publish(&web())?;
            assert_eq!(met(family, Means::Tcp, VIP), Err(plane.refusal()), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_15_more_clients_than_are_remembered_lose_their_backend_but_no_connection() {
    // A client of a port is what is remembered: many ports are many clients. The kernel hands entries
    // out to processors by the hundred, and forgets as many at once, so it takes thousands.
    const REMEMBERED: u32 = 1024;
    const PORTS: u16 = 3000;
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let remember_few = |settings: &mut Settings| {
            settings.affinity = REMEMBERED;
            settings.sizes = Sizes::new(2 * u32::from(PORTS), 4 * u32::from(PORTS));
        };
        let mut plane = Plane::on_with(lab, remember_few, Configuration::default())?;
        let vip = |index: u16| cluster_ip(100, 1000 + index);
        for index in 0..PORTS {
            let port = Port::tcp(&format!("lab/web-{index}:http")).at([vip(index)]).affinity(LONG);
            plane.publish(&port.to(serving.everywhere()))?;
        }
        let ask =
            |index: u16| -> Result<u16> { Ok(Means::Tcp.ask(Family::V4, vip(index).v4)?.identity) };
        // The first keeps asking while all others come, of which each asks once.
        let (keeps, others) = (0, 1..PORTS);
        let mut met = vec![ask(keeps)?];
        let mut moved = 0;
        for index in others.clone() {
            met.push(ask(index)?);
            let next = ask(keeps)?;
            moved += u16::from(next != met[0]);
            met[0] = next;
        }
        // The kernel forgets about those that are unused for longest, and accidents happen. Without
        // affinity three of four asks would have moved it.
        assert!(moved <= PORTS / 10, "the one that keeps asking was moved {moved} times");
        // Those that came first are forgotten: three of four find another backend, and half of them
        // are more than enough to say so.
        let oldest = 1..PORTS / 3;
        let lost = oldest.clone().map(|index| Ok(ask(index)? != met[usize::from(index)]));
        let lost = lost.collect::<Result<Vec<_>>>()?.into_iter().filter(|&lost| lost).count();
        assert!(lost >= oldest.len() / 4, "{lost} of {} were forgotten", oldest.len());
        // One that has just come is remembered.
        for index in others.take(100) {
            assert_eq!(ask(index)?, ask(index)?, "twice in a row");
        }
        Ok(())
    });
}
