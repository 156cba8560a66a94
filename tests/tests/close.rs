//! Closing sockets whose backend no longer serves, on the real kernel: sockets of every kind, in several
//! namespaces, with origins that the tests make up.
#![forbid(unsafe_code)]

use std::{
    collections::HashSet,
    io::{self, ErrorKind, Read as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use anyhow::{Context as _, Result};
use lab::{
    closing::{
        LIMIT, LOCAL4, LOCAL6, Running, SERVICE, TCP, UDP, expect_closed, expect_open, gone,
        mapped, origin, udp,
    },
    netns::Namespace,
    requirement::Need,
};
use lb_common::layout::Origin;
use lb_userspace::{
    close::{Gone, LOOKS, Request},
    netns::current_cookie,
};
use socket2::{Domain, Socket, Type};

#[test]
fn point_22_udp_sockets_of_every_kind_are_closed_under_their_application() {
    lab::isolated_with(&[Need::Ipv6], |_| {
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
        let both = Request::Gone(
            [pod4, pod6]
                .map(|backend| Gone { service: SERVICE, backend, before: u32::MAX })
                .to_vec(),
        );
        let sum = running.ask(both)?;
        assert_eq!((sum.udp, sum.tcp, sum.missed), (sockets.len(), 0, 0));
        for (what, socket, _) in &sockets {
            expect_closed(socket, what)?;
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
    lab::isolated_with(&[Need::Ipv6], |_| {
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

        let but_tcp = Request::AllBut { serving: HashSet::new(), before: u32::MAX, tcp: false };
        assert_eq!(running.ask(but_tcp)?.tcp, 0);
        for (stream, _) in &mut streams {
            stream.set_nonblocking(true)?;
            let error = stream.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "TCP was not asked for");
        }
        let all = Request::AllBut { serving: HashSet::new(), before: u32::MAX, tcp: true };
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
        let servers = [UdpSocket::bind((LOCAL4, 0))?, UdpSocket::bind((LOCAL4, 0))?];
        let [pod, elsewhere] = [servers[0].local_addr()?, servers[1].local_addr()?];
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
            expect_open(socket, what)?;
        }
        unconnected.set_nonblocking(true)?;
        let error = unconnected.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "an unconnected socket");
        Ok(())
    });
}

#[test]
fn point_22_every_namespace_is_reached_and_only_those_that_are_meant() {
    lab::isolated_with(&[Need::Ipv6], |lab| {
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
        if let Some(netns) = third.run(current_cookie)? {
            origins.push(Origin { netns, ..origin(&(&alike).into(), UDP, backend)? });
        }
        let missed = origins.len() - 2;

        let running = Running::with(origins)?;
        let sum = running.ask(gone(backend))?;
        assert_eq!((sum.udp, sum.missed), (2, missed));
        expect_closed(&here, "the socket in this namespace")?;
        expect_closed(&inside, "the socket in the Pod")?;
        expect_open(&alike, "the socket that is said to be in another namespace")?;
        Ok(())
    });
}

#[test]
fn point_22_sockets_that_share_all_addresses_are_closed_one_after_the_other() {
    // More than there are looks: where the kernel lists them in another order than it finds them in,
    // as those of AF_INET6 that are bound to an address, one pass has to try again.
    let close = |local: IpAddr| {
        let pod = UdpSocket::bind((local, 0))?.local_addr()?;
        let twins = [(); 2 * LOOKS].map(|()| -> Result<UdpSocket> {
            let socket = Socket::new(Domain::for_address(pod), Type::DGRAM, None)?;
            socket.set_reuse_port(true)?;
            socket.bind(&SocketAddr::new(local, 4000).into())?;
            socket.connect(&pod.into())?;
            Ok(socket.into())
        });
        let twins = twins.into_iter().collect::<Result<Vec<_>>>()?;
        let origins = twins.iter().map(|twin| origin(&twin.into(), UDP, pod));
        let running = Running::with(origins.collect::<Result<_>>()?)?;
        assert_eq!(running.ask(gone(pod))?.udp, twins.len(), "{local}");
        for twin in &twins {
            expect_closed(twin, "a twin")?;
        }
        anyhow::Ok(())
    };
    lab::isolated_with(&[Need::Ipv6], |_| {
        close(LOCAL4)?;
        close(LOCAL6)
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

#[test]
fn point_22_requests_that_wait_share_one_pass() {
    lab::isolated(|_| {
        let servers = (0..3).map(|_| UdpSocket::bind((LOCAL4, 0)));
        let servers = servers.collect::<io::Result<Vec<_>>>()?;
        let pods = servers.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
        let sockets = pods.iter().map(|&pod| udp(Domain::IPV4, pod)).collect::<Result<Vec<_>>>()?;
        let origins =
            sockets.iter().zip(&pods).map(|(socket, &pod)| origin(&socket.into(), UDP, pod));
        let origins = origins.collect::<Result<Vec<_>>>()?;
        let (begun, begin) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let running = Running::new(move || {
            begun.send(()).unwrap();
            // From the second pass on nobody holds it up.
            let _ = released.recv();
            Ok(origins.clone())
        })?;
        running.closer.request(gone(pods[0]));
        begin.recv_timeout(LIMIT)?;
        running.closer.request(gone(pods[1]));
        running.closer.request(gone(pods[2]));
        drop(release);
        assert_eq!(running.report()?.udp, 1);
        assert_eq!(running.report()?.udp, 2, "both in one pass");
        Ok(())
    });
}
