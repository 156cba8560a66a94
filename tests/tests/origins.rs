//! Reading the origins of all sockets through the iterator, from socket storage that the tests fill.

use std::{
    collections::HashSet,
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use aya::maps::{Map, MapData, SkStorage};
use lab::{
    closing::{LOCAL4, Running, TCP, UDP, expect_closed, gone, origin, udp},
    netns::Namespace,
};
use lb_common::layout::Origin;
use lb_userspace::{
    dataplane::{Object, Origins, Settings},
    publish::Sizes,
};
use socket2::{Domain, Socket, Type};

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
        let mut object = Object::load(&Settings::new(SIZES))?;
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
        // The kernel frees a socket's storage some time after the last descriptor.
        let mut reads = (0..1000).map(|_| {
            thread::sleep(Duration::from_millis(10));
            udp_only.read()
        });
        ensure!(reads.any(|read| read.is_ok_and(|read| read == [expected])), "it stays");

        let running = Running::new(move || all.read())?;
        let sum = running.ask(gone(pod))?;
        assert_eq!(sum.udp, 1);
        expect_closed(&socket, "the socket that the iterator found")
    });
}

#[test]
fn point_22_more_origins_than_one_read_holds_are_all_found_and_closed() {
    lab::isolated(|_| {
        // One read holds 409 of them, and a process may have 1,024 descriptors as a rule.
        const SOCKETS: usize = 900;
        let mut object = Object::load(&Settings::new(SIZES))?;
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
        sockets.iter().try_for_each(|socket| expect_closed(socket, "one of many"))
    });
}
