//! Closing sockets whose backend no longer serves, on the real kernel: sockets of every kind, in several
//! namespaces, found by origins that the tests give them.

use std::{
    collections::HashSet,
    io::{self, ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, SkStorage};
use lab::netns::Namespace;
use lb_common::layout::Origin;
use lb_userspace::{
    close::{Closer, Gone, LOOKS, Report, Request},
    dataplane::{Object, Origins},
    netns::current_cookie,
    publish::Sizes,
};
use socket2::{Domain, Socket, Type};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SERVICE: u32 = 3;
const LOCAL4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// No pass may take longer.
const LIMIT: Duration = Duration::from_secs(20);

/// An IPv4 address as the IPv4-mapped one, which AF_INET6 sockets connect to.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// A UDP socket of `domain`, connected to `peer`.
fn udp(domain: Domain, peer: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.connect(&peer.into())?;
    Ok(socket.into())
}

/// The origin of a socket of the calling thread's namespace, as if it had been sent to `backend`.
fn origin(socket: &socket2::SockRef<'_>, protocol: u8, backend: SocketAddr) -> Result<Origin> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    Ok(Origin {
        version: Origin::VERSION,
        protocol,
        reserved: 0,
        frontend_port: 53,
        backend_port: backend.port(),
        frontend: octets(Ipv4Addr::new(10, 96, 0, 10).into()),
        backend: octets(backend.ip()),
        service: SERVICE,
        backend_id: 900,
        socket: socket.cookie()?,
        netns: current_cookie()?.context("tests need SO_NETNS_COOKIE, Linux 5.14")?,
        spare: [0; 2],
    })
}

fn gone(backend: SocketAddr) -> Request {
    Request::Gone(vec![Gone { service: SERVICE, backend }])
}

/// A closer, and what it reports.
struct Running {
    closer: Closer,
    reports: Receiver<Report>,
}

impl Running {
    fn new(origins: impl Fn() -> io::Result<Vec<Origin>> + Send + 'static) -> Result<Self> {
        let (tell, reports) = mpsc::channel();
        let told = move |report: &Report| {
            // The errors go no further than this.
            assert!(report.errors.is_empty(), "{:?}", report.errors);
            tell.send(Report { errors: Vec::new(), ..*report }).unwrap();
        };
        Ok(Self { closer: Closer::start(origins, told)?, reports })
    }

    fn with(origins: Vec<Origin>) -> Result<Self> {
        Self::new(move || Ok(origins.clone()))
    }

    fn report(&self) -> Result<Report> {
        self.reports.recv_timeout(LIMIT).context("the closer does not report")
    }

    /// Asks, and waits until nothing is left to be looked at again. Returns the sum.
    fn ask(&self, request: Request) -> Result<Report> {
        self.closer.request(request);
        let mut sum = Report::default();
        for _ in 0..LOOKS {
            let report = self.report()?;
            sum.udp += report.udp;
            sum.tcp += report.tcp;
            sum.missed += report.missed;
            if report.again == 0 {
                return Ok(sum);
            }
        }
        anyhow::bail!("sockets are looked at too often")
    }
}

/// Fails unless the socket was closed under its owner: the next call says so, once.
fn assert_closed(socket: &UdpSocket, what: &str) -> Result<()> {
    socket.set_nonblocking(true)?;
    let error = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{what}");
    assert!(socket.peer_addr().is_err(), "{what} has no peer any more");
    Ok(())
}

fn assert_open(socket: &UdpSocket, what: &str) -> Result<()> {
    socket.set_nonblocking(true)?;
    let error = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{what}");
    assert!(socket.peer_addr().is_ok(), "{what} keeps its peer");
    Ok(())
}

#[test]
fn point_22_udp_sockets_of_every_kind_are_closed_under_their_application() {
    lab::isolated(|_| {
        let (server4, server6) = (UdpSocket::bind((LOCAL4, 0))?, UdpSocket::bind((LOCAL6, 0))?);
        let (pod4, pod6) = (server4.local_addr()?, server6.local_addr()?);
        let device = udp(Domain::IPV4, pod4)?;
        socket2::SockRef::from(&device).bind_device(Some(b"lo"))?;
        let sockets = [
            ("IPv4", udp(Domain::IPV4, pod4)?, pod4),
            ("IPv6", udp(Domain::IPV6, pod6)?, pod6),
            ("IPv4-mapped", udp(Domain::IPV6, mapped(pod4))?, pod4),
            ("AF_INET6 connected by AF_INET", udp(Domain::IPV6, pod4)?, pod4),
            ("bound to a device", device, pod4),
        ];
        let origins = sockets.iter().map(|(_, socket, pod)| origin(&socket.into(), UDP, *pod));
        let running = Running::with(origins.collect::<Result<_>>()?)?;
        let both =
            Request::Gone([pod4, pod6].map(|backend| Gone { service: SERVICE, backend }).to_vec());
        let sum = running.ask(both)?;
        assert_eq!((sum.udp, sum.tcp, sum.missed), (sockets.len(), 0, 0));
        for (what, socket, _) in &sockets {
            assert_closed(socket, what)?;
        }
        // The application may go on with it.
        let socket = &sockets[0].1;
        socket.connect(pod4)?;
        socket.send(b"again")?;
        assert_eq!(server4.recv(&mut [0; 8])?, 5);
        Ok(())
    });
}

#[test]
fn point_22_an_application_that_waits_for_an_answer_is_woken() {
    lab::isolated(|_| {
        let pod = UdpSocket::bind((LOCAL4, 0))?;
        let backend = pod.local_addr()?;
        let socket = udp(Domain::IPV4, backend)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let running = Running::with(vec![origin(&(&socket).into(), UDP, backend)?])?;
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                socket.send(b"question")?;
                socket.recv(&mut [0; 8])
            });
            // The question has arrived, so the peer is there, and an answer will never come.
            assert_eq!(pod.recv(&mut [0; 8])?, 8);
            assert_eq!(running.ask(gone(backend))?.udp, 1);
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            Ok(())
        })
    });
}

#[test]
fn point_22_tcp_connections_are_closed_if_asked_for() {
    lab::isolated(|_| {
        let (server4, server6) = (TcpListener::bind((LOCAL4, 0))?, TcpListener::bind((LOCAL6, 0))?);
        let (pod4, pod6) = (server4.local_addr()?, server6.local_addr()?);
        let by_mapped = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        by_mapped.connect(&mapped(pod4).into())?;
        let mut streams: [(TcpStream, _); 3] = [
            (TcpStream::connect(pod4)?, pod4),
            (TcpStream::connect(pod6)?, pod6),
            (by_mapped.into(), pod4),
        ];
        let mut untouched = TcpStream::connect(pod4)?;
        let origins = streams.iter().map(|(stream, pod)| origin(&stream.into(), TCP, *pod));
        let running = Running::with(origins.collect::<Result<_>>()?)?;

        let but_tcp = Request::AllBut { serving: HashSet::new(), tcp: false };
        assert_eq!(running.ask(but_tcp)?.tcp, 0);
        for (stream, _) in &mut streams {
            stream.set_nonblocking(true)?;
            let error = stream.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "TCP was not asked for");
        }
        let all = Request::AllBut { serving: HashSet::new(), tcp: true };
        let sum = running.ask(all)?;
        assert_eq!((sum.udp, sum.tcp, sum.missed), (0, 3, 0));
        for (stream, pod) in &mut streams {
            let error = stream.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{pod}");
        }
        untouched.set_nonblocking(true)?;
        let error = untouched.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "it has no origin");
        Ok(())
    });
}

#[test]
fn point_22_sockets_that_only_look_alike_are_left_alone() {
    lab::isolated(|_| {
        let pod = UdpSocket::bind((LOCAL4, 0))?.local_addr()?;
        let elsewhere = UdpSocket::bind((LOCAL4, 0))?.local_addr()?;
        let direct = udp(Domain::IPV4, pod)?;
        let moved = udp(Domain::IPV4, elsewhere)?;
        let unconnected = UdpSocket::bind((LOCAL4, 0))?;
        let other_service = udp(Domain::IPV4, pod)?;
        let other_version = udp(Domain::IPV4, pod)?;
        let mut origins = vec![
            // Connected elsewhere since, or not at all.
            origin(&(&moved).into(), UDP, pod)?,
            origin(&(&unconnected).into(), UDP, pod)?,
            Origin { service: SERVICE + 1, ..origin(&(&other_service).into(), UDP, pod)? },
            Origin { version: 9, ..origin(&(&other_version).into(), UDP, pod)? },
        ];
        // A socket that is gone; its cookie is nobody's.
        origins.push(origin(&(&udp(Domain::IPV4, pod)?).into(), UDP, pod)?);
        let running = Running::with(origins)?;
        let sum = running.ask(gone(pod))?;
        assert_eq!((sum.udp, sum.missed), (0, 3));
        for (what, socket) in [
            ("a socket without origin", &direct),
            ("a socket that was connected elsewhere", &moved),
            ("another service's socket", &other_service),
            ("a socket with an unknown origin", &other_version),
        ] {
            assert_open(socket, what)?;
        }
        unconnected.set_nonblocking(true)?;
        let error = unconnected.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "an unconnected socket");
        Ok(())
    });
}

#[test]
fn point_22_every_namespace_is_reached_and_only_those_that_are_meant() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let server = pod.namespace().run(|| UdpSocket::bind(pod.socket(53)))?;
        let backend: SocketAddr = server.local_addr()?;
        // One in the namespace of a thread, as this one is.
        let here = udp(Domain::IPV4, backend)?;
        let mut origins = vec![origin(&(&here).into(), UDP, backend)?];
        // In the Pod itself, whose namespace only a descriptor holds.
        let (inside, inside_origin) = pod.namespace().run(|| {
            let socket = udp(Domain::IPV6, mapped(backend))?;
            let origin = origin(&(&socket).into(), UDP, backend)?;
            anyhow::Ok((socket, origin))
        })?;
        origins.push(inside_origin);
        // Elsewhere, with the same addresses and a cookie that a third namespace claims.
        let third = Namespace::new()?;
        let alike = udp(Domain::IPV4, backend)?;
        let netns = third.run(current_cookie)?.context("it has a cookie")?;
        origins.push(Origin { netns, ..origin(&(&alike).into(), UDP, backend)? });

        let running = Running::with(origins)?;
        let sum = running.ask(gone(backend))?;
        assert_eq!((sum.udp, sum.missed), (2, 1));
        assert_closed(&here, "the socket in this namespace")?;
        assert_closed(&inside, "the socket in the Pod")?;
        assert_open(&alike, "the socket that is said to be in another namespace")?;
        Ok(())
    });
}

#[test]
fn point_22_sockets_that_share_all_addresses_are_closed_one_after_the_other() {
    lab::isolated(|_| {
        let pod = UdpSocket::bind((LOCAL4, 0))?.local_addr()?;
        let twins = [(); 3].map(|()| -> Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_reuse_port(true)?;
            socket.bind(&SocketAddr::new(LOCAL4, 4000).into())?;
            socket.connect(&pod.into())?;
            Ok(socket.into())
        });
        let twins = twins.into_iter().collect::<Result<Vec<_>>>()?;
        let origins = twins.iter().map(|twin| origin(&twin.into(), UDP, pod));
        let running = Running::with(origins.collect::<Result<_>>()?)?;
        assert_eq!(running.ask(gone(pod))?.udp, 3);
        for twin in &twins {
            assert_closed(twin, "a twin")?;
        }
        Ok(())
    });
}

#[test]
fn point_22_a_connect_that_is_not_done_at_the_first_look_does_not_escape() {
    lab::isolated(|_| {
        let pod = UdpSocket::bind((LOCAL4, 0))?.local_addr()?;
        let socket = Arc::new(Socket::new(Domain::IPV4, Type::DGRAM, None)?);
        let seen = origin(&(&*socket).into(), UDP, pod)?;
        let looks = Arc::new(Mutex::new(0));
        let running = Running::new({
            let (socket, looks) = (Arc::clone(&socket), Arc::clone(&looks));
            move || {
                let mut looks = looks.lock().unwrap();
                *looks += 1;
                if *looks == 2 {
                    // The program wrote the origin before; only now the kernel gets further.
                    socket.connect(&pod.into())?;
                }
                Ok(vec![seen])
            }
        })?;
        let sum = running.ask(gone(pod))?;
        assert_eq!((sum.udp, sum.missed), (1, 0));
        assert_eq!(*looks.lock().unwrap(), 2);
        let error = socket.take_error()?.context("the application sees it")?;
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        Ok(())
    });
}

/// The tables' sizes do not matter here.
const SIZES: Sizes = Sizes { frontends: 8, services: 8, backends: 8 };

/// `lb_origins` of a loaded object, to write origins as the programs do.
fn storage(object: &Object) -> Result<SkStorage<MapData, Origin>> {
    let fd: OwnedFd = object.map_fd("lb_origins")?.try_clone_to_owned()?;
    Ok(Map::SkStorage(MapData::from_fd(fd)?).try_into()?)
}

#[test]
fn point_22_the_iterator_finds_the_origins_of_all_namespaces_sockets() {
    lab::isolated(|_| {
        let mut object = Object::load(SIZES)?;
        let mut storage = storage(&object)?;
        let (all, udp_only) = (object.origins(Origins::All)?, object.origins(Origins::Udp)?);
        assert_eq!((all.read()?, udp_only.read()?), (vec![], vec![]));

        let pod = UdpSocket::bind((LOCAL4, 0))?.local_addr()?;
        let server = TcpListener::bind((LOCAL4, 0))?;
        let socket = udp(Domain::IPV4, pod)?;
        let expected = origin(&(&socket).into(), UDP, pod)?;
        storage.insert(&socket, expected, 0)?;
        let stream = TcpStream::connect(server.local_addr()?)?;
        let of_tcp = origin(&(&stream).into(), TCP, server.local_addr()?)?;
        storage.insert(&stream, of_tcp, 0)?;
        let other = Namespace::new()?.run(|| Socket::new(Domain::IPV6, Type::DGRAM, None))?;
        let elsewhere = Origin { netns: 77, ..origin(&(&other).into(), UDP, pod)? };
        storage.insert(&other, elsewhere, 0)?;

        let sorted = |mut origins: Vec<Origin>| {
            origins.sort_unstable_by_key(|origin| origin.socket);
            origins
        };
        assert_eq!(sorted(all.read()?), sorted(vec![expected, of_tcp, elsewhere]));
        assert_eq!(sorted(udp_only.read()?), sorted(vec![expected, elsewhere]));
        drop(other);
        drop(stream);
        // The kernel frees a socket some time after the last descriptor, TCP after its last packet.
        let mut reads = (0..1000).map(|_| {
            thread::sleep(Duration::from_millis(10));
            udp_only.read()
        });
        ensure!(reads.any(|read| read.is_ok_and(|read| read == [expected])), "it stays");

        let running = Running::new(move || all.read())?;
        let sum = running.ask(gone(pod))?;
        assert_eq!(sum.udp, 1);
        assert_closed(&socket, "the socket that the iterator found")
    });
}

#[test]
fn point_22_more_origins_than_one_read_holds_are_all_found_and_closed() {
    lab::isolated(|_| {
        // One read holds 409 of them, and a process may have 1,024 descriptors as a rule.
        const SOCKETS: usize = 900;
        let mut object = Object::load(SIZES)?;
        let mut storage = storage(&object)?;
        let pod = UdpSocket::bind((LOCAL4, 0))?.local_addr()?;
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            let socket = udp(Domain::IPV4, pod)?;
            storage.insert(&socket, origin(&(&socket).into(), UDP, pod)?, 0)?;
            sockets.push(socket);
        }
        let origins = object.origins(Origins::Udp)?;
        let found: HashSet<_> = origins.read()?.iter().map(|origin| origin.socket).collect();
        assert_eq!(found.len(), SOCKETS, "each once");
        let running = Running::new(move || origins.read())?;
        let sum = running.ask(gone(pod))?;
        assert_eq!((sum.udp, sum.missed), (SOCKETS, 0));
        sockets.iter().try_for_each(|socket| assert_closed(socket, "one of many"))
    });
}
