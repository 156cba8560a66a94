//! Reading the origins of all sockets through the iterator, as the programs wrote them.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    os::fd::AsFd,
};

use anyhow::{Context as _, Result};
use lab::{
    Lab,
    closing::{Running, TCP, UDP, expect_closed},
    plane::Plane,
    port::Port,
    requirement::Need,
    stage::eventually,
};
use lb_common::{Octets, Origin, layout::ORIGIN_VERSION};
use lb_userspace::{
    close::{Gone, Request},
    dataplane::Origins,
    netns::current_cookie,
    publish::{Family, Sizes},
};
use rustix::net::sockopt::socket_cookie;

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 53);
const PORT: u16 = 5353;

/// Tables with a UDP and a TCP port that both lead to this backend.
fn plane(lab: &Lab, backend: SocketAddrV4) -> Result<Plane> {
    let mut plane = Plane::new(Sizes::new(64, 64))?;
    plane.publish(&Port::udp("lab/dns:dns").at([VIP]).to([backend]))?;
    plane.publish(&Port::tcp("lab/dns:dns-tcp").at([VIP]).to([backend]))?;
    plane.attach(lab.cgroup())?;
    Ok(plane)
}

fn id(plane: &Plane, name: &str) -> Result<u32> {
    plane.publisher.service_id(name, Family::V4).context("the port is published")
}

fn udp() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(VIP)?;
    Ok(socket)
}

/// What must be known of a socket of the calling thread's namespace, without the backend's id.
fn expected(
    socket: &impl AsFd,
    protocol: u8,
    service: u32,
    backend: SocketAddrV4,
) -> Result<Origin> {
    Ok(Origin {
        version: ORIGIN_VERSION,
        protocol,
        reserved: 0,
        frontend_port: VIP.port(),
        backend_port: backend.port(),
        frontend: Octets::v4(VIP.ip().octets()),
        backend: Octets::v4(backend.ip().octets()),
        service,
        backend_id: 0,
        socket: socket_cookie(socket)?,
        netns: current_cookie()?.unwrap_or(0),
        spare: [0; 2],
    })
}

/// Sorted, and without what a test cannot know: the backends' ids, and the namespaces' cookies where
/// the kernel does not tell them.
fn comparable(mut origins: Vec<Origin>) -> Result<Vec<Origin>> {
    let told = current_cookie()?.is_some();
    for origin in &mut origins {
        origin.backend_id = 0;
        origin.netns = if told { origin.netns } else { 0 };
    }
    origins.sort_unstable_by_key(|origin| origin.socket);
    Ok(origins)
}

#[test]
fn point_22_the_iterator_finds_the_origins_of_all_namespaces_sockets() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let (pod, other_pod) = (lab.pod(1)?, lab.pod(2)?);
        let backend = pod.socket(PORT);
        let _server = pod.serve_echo([(PORT, 1)])?;
        let mut plane = plane(lab, backend)?;
        let (dns, dns_tcp) = (id(&plane, "lab/dns:dns/UDP")?, id(&plane, "lab/dns:dns-tcp/TCP")?);
        let all = plane.object.origins(Origins::All)?;
        let udp_only = plane.object.origins(Origins::Udp)?;
        assert_eq!((all.read()?, udp_only.read()?), (vec![], vec![]));

        let socket = udp()?;
        let of_udp = expected(&socket, UDP, dns, backend)?;
        let stream = TcpStream::connect(VIP)?;
        let of_tcp = expected(&stream, TCP, dns_tcp, backend)?;
        let (other, elsewhere) = other_pod.namespace().run(|| {
            let socket = udp()?;
            let origin = expected(&socket, UDP, dns, backend)?;
            anyhow::Ok((socket, origin))
        })?;
        // Connected elsewhere since, so of no interest any more.
        let direct = udp()?;
        direct.connect(backend)?;

        let expected = vec![of_udp, of_tcp, elsewhere];
        assert_eq!(comparable(all.read()?)?, comparable(expected)?);
        assert_eq!(comparable(udp_only.read()?)?, comparable(vec![of_udp, elsewhere])?);
        drop(other);
        drop(stream);
        // The kernel frees a socket's storage some time after the last descriptor.
        let expected = comparable(vec![of_udp])?;
        eventually("the other one is gone", || Ok(comparable(udp_only.read()?)? == expected))?;

        let running = Running::new(move || all.read())?;
        let gone = Gone { service: dns, backend: SocketAddr::V4(backend), before: u32::MAX };
        let sum = running.ask(Request::Gone(vec![gone]))?;
        assert_eq!(sum.udp, 1);
        expect_closed(&socket, "the socket that the iterator found")
    });
}

#[test]
fn point_22_more_origins_than_one_read_holds_are_all_found_and_closed() {
    lab::isolated_with(&[Need::Origins], |lab| {
        // One read holds 409 of them, and a process may have 1,024 descriptors as a rule.
        const SOCKETS: usize = 900;
        let pod = lab.pod(1)?;
        let backend = pod.socket(PORT);
        let mut plane = plane(lab, backend)?;
        let service = id(&plane, "lab/dns:dns/UDP")?;
        let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| udp()).collect::<Result<_>>()?;
        let origins = plane.object.origins(Origins::Udp)?;
        let found: HashSet<_> = origins.read()?.iter().map(|origin| origin.socket).collect();
        assert_eq!(found.len(), SOCKETS, "each once");
        let running = Running::new(move || origins.read())?;
        let gone = Gone { service, backend: SocketAddr::V4(backend), before: u32::MAX };
        let sum = running.ask(Request::Gone(vec![gone]))?;
        assert_eq!((sum.udp, sum.missed), (SOCKETS, 0));
        sockets.iter().try_for_each(|socket| expect_closed(socket, "one of many"))
    });
}
