//! Sockets that are not TCP's or UDP's, and datagrams to everyone: untouched, even while addresses
//! that no Service has are refused. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
};

use anyhow::Result;
use lab::{
    Lab,
    client::TIMEOUT,
    family::{Dual, Family},
    plane::Plane,
    pod::{CLIENT, CLIENT6},
    port::{Port, cluster_ip},
    requirement::Need,
    serving::{PORT, Serving},
    socket::{Errno, Socket},
};
use lb_common::{
    Counter,
    layout::{Cidr4, Cidr6},
};
use lb_userspace::dataplane::{Configuration, ServiceNetworks};
use rustix::net::{RecvFlags, SendFlags, SocketType, ipproto, sockopt};
use socket2::SockRef;

const VIP: Dual = cluster_ip(10, 80);
/// The client's interface to the Pod with index 0.
const INTERFACE: &str = "pod0";

/// Serves the address over TCP and UDP, and refuses everything else of every network.
fn plane(lab: &Lab, serving: &Serving) -> Result<Plane> {
    let everything = Configuration {
        refuse: true,
        networks: ServiceNetworks {
            cidrs4: vec![Cidr4::default()],
            cidrs6: vec![Cidr6::default()],
        },
        ..Configuration::default()
    };
    let mut plane = Plane::on_with(lab, |_| (), everything)?;
    for protocol in [Port::tcp, Port::udp] {
        plane.publish(&protocol("lab/web:http").at([VIP]).to(serving.everywhere()))?;
    }
    Ok(plane)
}

/// Fails unless the programs have let everything pass.
fn expect_uncounted(plane: &Plane) -> Result<()> {
    for counter in Counter::ALL {
        assert_eq!(plane.count(counter)?, 0, "{counter:?}");
    }
    Ok(())
}

/// An echo request, whose checksum the kernel fills in where it knows how.
fn echo_request(family: Family) -> [u8; 8] {
    match family {
        Family::V4 => [8, 0, 0xf7, 0xff, 0, 0, 0, 0],
        Family::V6 | Family::Mapped => [128, 0, 0, 0, 0, 0, 0, 0],
    }
}

/// Sends an echo request and waits for the reply; returns where that is from.
fn ping(kind: SocketType, family: Family, to: SocketAddr) -> Result<SocketAddr, Errno> {
    let socket = &icmp(kind, family)?;
    rustix::net::sendto(socket, &echo_request(family), SendFlags::empty(), &to)?;
    let reply = if family == Family::V4 { 0 } else { 129 };
    // A raw socket hears other messages too: who is where, for one.
    for _ in 0..16 {
        let mut buffer = [0; 128];
        let (_, _, from) = rustix::net::recvfrom(socket, &mut buffer, RecvFlags::empty())?;
        // IPv4's header is shown to raw sockets, with its length in words.
        let is_shown = kind == SocketType::RAW && family == Family::V4;
        let header = if is_shown { 4 * usize::from(buffer[0] & 15) } else { 0 };
        if buffer[header] == reply {
            return from.ok_or(Errno::NOTCONN)?.try_into();
        }
    }
    Err(Errno::BADMSG)
}

/// A socket of this kind for echo requests.
fn icmp(kind: SocketType, family: Family) -> Result<Socket, Errno> {
    let protocol = if family == Family::V4 { ipproto::ICMP } else { ipproto::ICMPV6 };
    Socket::new(family, kind, Some(protocol))
}

#[test]
fn point_25_raw_and_ping_sockets_are_untouched() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let plane = plane(lab, &serving)?;
        // Whoever is of group 0 may have ping sockets, in this namespace.
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0")?;
        for &family in lab.families()?.iter().filter(|&&family| family != Family::Mapped) {
            for kind in [SocketType::RAW, SocketType::DGRAM] {
                let new = || icmp(kind, family);
                let pod = serving.pods[0].dual(0).seen_by(family);
                let vip = Dual::new(*VIP.v4.ip(), *VIP.v6.ip(), 0).seen_by(family);
                let seen = (new()?.connect(VIP.seen_by(family)), ping(kind, family, vip));
                let alone = (Err(Errno::NETUNREACH), Err(Errno::NETUNREACH));
                assert_eq!(seen, alone, "{family:?}, {kind:?}");
                assert_eq!(ping(kind, family, pod), Ok(pod), "{family:?}, {kind:?}");
                // Without a port, the kernel takes it for unconnected.
                let (socket, pod) = (new()?, serving.at(0).seen_by(family));
                socket.connect(pod)?;
                assert_eq!(socket.peer(), Ok(pod), "{family:?}, {kind:?}");
            }
        }
        expect_uncounted(&plane)
    });
}

#[test]
fn point_25_udp_lite_sockets_are_untouched() {
    lab::isolated_with(&[Need::Protocol("UDP-Lite")], |lab| {
        let serving = Serving::start(lab, 1)?;
        let plane = plane(lab, &serving)?;
        for &family in lab.families()? {
            let new = || Socket::new(family, SocketType::DGRAM, Some(ipproto::UDPLITE));
            let vip = VIP.seen_by(family);
            let seen = (new()?.connect(vip), new()?.send_to(b"?", vip));
            let alone = (Err(Errno::NETUNREACH), Err(Errno::NETUNREACH));
            assert_eq!(seen, alone, "{family:?}");
            let (first, second) = (new()?, new()?);
            let client = Dual::new(CLIENT, CLIENT6, PORT).seen_by(family);
            first.bind(client)?;
            second.send_to(&[0, 7, b'?'], client)?;
            assert_eq!(first.receive_from()?.source.map(|from| from.ip()), Some(client.ip()));
        }
        expect_uncounted(&plane)
    });
}

#[test]
fn point_4_sctp_sockets_are_untouched() {
    lab::isolated_with(&[Need::Protocol("SCTP")], |lab| {
        let serving = Serving::start(lab, 1)?;
        let plane = plane(lab, &serving)?;
        for &family in lab.families()? {
            let pod = serving.at(0).seen_by(family);
            for kind in [SocketType::STREAM, SocketType::SEQPACKET] {
                let new = || Socket::new(family, kind, Some(ipproto::SCTP));
                let listener = serving.pods[0].namespace().run(new)?;
                listener.bind(pod)?;
                rustix::net::listen(&listener, 4)?;
                // A hook would refuse it: no Service has this address.
                let socket = new()?;
                assert_eq!(socket.connect(pod), Ok(()), "{family:?}, {kind:?}");
                if kind == SocketType::STREAM {
                    assert_eq!(socket.peer(), Ok(pod), "{family:?}");
                } else {
                    // One that has no association makes one for what it sends.
                    assert_eq!(new()?.send_to(b"?", pod), Ok(()), "{family:?}");
                }
            }
        }
        expect_uncounted(&plane)?;
        assert_eq!(Socket::tcp(Family::V4)?.connect(serving.at(0).v4), Err(plane.refusal()));
        Ok(())
    });
}

#[test]
fn point_25_datagrams_to_everyone_are_untouched() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let namespace = serving.pods[0].namespace();
        let heard = |address: SocketAddr| {
            let socket = namespace.run(|| UdpSocket::bind(address))?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            anyhow::Ok(socket)
        };
        // Multicast and broadcast are inside of no Service CIDR: not even of 10.96.0.0/16.
        let mut plane = Plane::on_with(
            lab,
            |_| (),
            Configuration {
                refuse: true,
                networks: ServiceNetworks {
                    cidrs4: vec![Cidr4 { address: [10, 96, 0, 0], mask: [255, 255, 0, 0] }],
                    cidrs6: Vec::new(),
                },
                ..Configuration::default()
            },
        )?;
        plane.publish(&Port::udp("lab/web:http").at([VIP]).to(serving.everywhere()))?;
        let every4 = heard(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5353).into())?;
        let mut destinations = vec![
            (Family::V4, SocketAddr::from((Ipv4Addr::BROADCAST, 5353)), &every4),
            (Family::V4, SocketAddr::from(([224, 0, 0, 1], 5353)), &every4),
        ];
        let every6;
        if lab.has_ipv6() {
            every6 = heard(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 5354, 0, 0).into())?;
            let interface =
                rustix::net::netdevice::name_to_index(&Socket::udp(Family::V6)?, INTERFACE)?;
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let all_nodes = SocketAddrV6::new(all_nodes, 5354, 0, interface).into();
            destinations.push((Family::V6, all_nodes, &every6));
        }
        for (family, to, listener) in destinations {
            let socket = Socket::udp(family)?;
            sockopt::set_socket_broadcast(&socket, true)?;
            SockRef::from(&socket).bind_device(Some(INTERFACE.as_bytes()))?;
            socket.send_to(b"everyone", to)?;
            let mut buffer = [0; 16];
            let (length, from) = listener.recv_from(&mut buffer)?;
            assert_eq!(&buffer[..length], b"everyone", "{to}");
            // To a link-local group the kernel prefers to speak from a link-local address.
            let own = match from.ip() {
                IpAddr::V4(address) => address == CLIENT,
                IpAddr::V6(address) => address == CLIENT6 || address.is_unicast_link_local(),
            };
            assert!(own, "{to}: {from}");
        }
        expect_uncounted(&plane)
    });
}
