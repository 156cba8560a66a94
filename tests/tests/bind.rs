//! Node ports that are served are kept free in the host's network namespace, if asked for: a
//! process that had one would never be reached from this node.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use lab::{
    Lab,
    family::{Dual, Family, mapped},
    plane::Plane,
    pod::{CLIENT, CLIENT6},
    port::Port,
    requirement::Need,
    serving::Serving,
    socket::{Errno, Socket},
};
use lb_common::Counter;
use lb_userspace::{dataplane::Configuration, model::FrontendKind};

/// On the host's address.
const NODE_PORT: Dual = Dual::new(CLIENT, CLIENT6, 30_080);

fn node_port() -> Port {
    Port::tcp("lab/web:http").at([NODE_PORT]).kind(FrontendKind::NodePort)
}

fn protecting(lab: &Lab, configuration: bool) -> Result<Plane> {
    let configuration =
        Configuration { protect_node_ports: configuration, ..Configuration::default() };
    Plane::on_with(lab, |settings| settings.protect_node_ports = true, configuration)
}

/// Where a socket could be bound with this port so that it had it on the host's address.
fn over_it(lab: &Lab, port: u16) -> Vec<(Family, SocketAddr)> {
    let unspecified = Dual::new(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, port);
    let host = Dual::new(CLIENT, CLIENT6, port);
    let mut over = vec![(Family::V4, unspecified.v4.into()), (Family::V4, host.v4.into())];
    if lab.has_ipv6() {
        let addresses =
            [unspecified.v6.into(), host.v6.into(), mapped(unspecified.v4), mapped(host.v4)];
        over.extend(addresses.map(|address| (Family::V6, address)));
    }
    over
}

fn bind_tcp((family, address): (Family, SocketAddr)) -> Result<(), Errno> {
    Socket::tcp(family)?.bind(address)
}

#[test]
fn a_served_node_port_cannot_be_taken_in_the_hosts_namespace() {
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = protecting(lab, true)?;
        let over = over_it(lab, NODE_PORT.v4.port());
        for &place in &over {
            assert_eq!(bind_tcp(place), Ok(()), "{place:?}: nobody is served yet");
        }
        plane.publish(&node_port().to(serving.everywhere()))?;
        let taken = if plane.object.refuses_with_errno { Errno::ADDRINUSE } else { Errno::PERM };
        for &place in &over {
            assert_eq!(bind_tcp(place), Err(taken), "{place:?}");
            // A Pod's ports are its own; the host's address it has not.
            let is_anywhere = place.1.ip().to_canonical().is_unspecified();
            let own = if is_anywhere { Ok(()) } else { Err(Errno::ADDRNOTAVAIL) };
            let inside = serving.pods[0].namespace().run(|| bind_tcp(place));
            assert_eq!(inside, own, "{place:?}");
        }
        assert_eq!(plane.count(Counter::PortTaken)?, over.len() as u64);
        // Another protocol, another port, and an address that is no frontend.
        for place in over_it(lab, NODE_PORT.v4.port() + 1) {
            assert_eq!(bind_tcp(place), Ok(()), "{place:?}");
        }
        for &(family, address) in &over {
            assert_eq!(Socket::udp(family)?.bind(address), Ok(()), "{address}");
        }
        let loopback = Dual::new(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, NODE_PORT.v4.port());
        for &family in lab.families()? {
            assert_eq!(bind_tcp((family, loopback.seen_by(family))), Ok(()), "{family:?}");
        }
        // It is free again when nobody is served there any more.
        plane.withdraw(&node_port())?;
        plane.publisher.maintain(true)?;
        for &place in &over {
            assert_eq!(bind_tcp(place), Ok(()), "{place:?}");
        }
        assert_eq!(plane.count(Counter::PortTaken)?, over.len() as u64);
        Ok(())
    });
}

#[test]
fn ports_are_anyones_unless_asked_for() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let mut plane = protecting(lab, false)?;
        plane.publish(&node_port().to(serving.everywhere()))?;
        for place in over_it(lab, NODE_PORT.v4.port()) {
            assert_eq!(bind_tcp(place), Ok(()), "{place:?}");
        }
        Ok(())
    });
}
