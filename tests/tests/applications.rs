//! The less usual ways in which applications make and connect sockets, and what they notice of
//! it. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    fs, io,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result};
use lab::{
    Lab,
    exchange::Way,
    family::{Dual, Family},
    plane::Plane,
    pod::{CLIENT, CLIENT6},
    port::{Port, cluster_ip},
    requirement::{self, Need},
    serving::Serving,
    socket::{Errno, Socket},
};
use lb_common::Counter;
use nix::sys::socket::{
    setsockopt,
    sockopt::{Ipv4RecvErr, Ipv6RecvErr},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{RecvAncillaryBuffer, RecvFlags},
};
use socket2::{SockFilter, SockRef};

const VIP: Dual = cluster_ip(10, 80);
const OTHER: Dual = cluster_ip(11, 80);

/// A Service over TCP and UDP.
fn publish(plane: &mut Plane, name: &str, vip: Dual, backends: &[Dual]) -> Result<()> {
    for protocol in [Port::tcp, Port::udp] {
        plane.publish(&protocol(name).at([vip]).to(backends.iter().copied()))?;
    }
    Ok(())
}

/// Two Pods, and a Service that leads to the first.
fn start(lab: &Lab) -> Result<(Serving, Plane)> {
    let serving = Serving::start(lab, 2)?;
    let mut plane = Plane::on(lab)?;
    publish(&mut plane, "lab/web:http", VIP, &[serving.at(0)])?;
    Ok((serving, plane))
}

/// The client's address on the links to Pods, with this port.
fn client(family: Family, port: u16) -> SocketAddr {
    Dual::new(CLIENT, CLIENT6, port).seen_by(family)
}

#[test]
fn point_20_a_multipath_tcp_socket_is_translated_and_sees_the_backend() {
    lab::isolated_with(&[Need::Mptcp], |lab| {
        let (serving, plane) = start(lab)?;
        let mut sockets = 0;
        for &family in lab.families()? {
            let socket = Socket::mptcp(family)?;
            socket.connect(VIP.seen_by(family))?;
            assert_eq!(socket.identity(), Ok(0), "{family:?}");
            // The hooks know its first subflow, and that is not the socket that is asked.
            assert_eq!(socket.peer(), Ok(serving.at(0).seen_by(family)), "{family:?}");
            sockets += 1;
            assert_eq!(plane.count(Counter::Translated)?, sockets, "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_20_data_may_be_sent_with_the_connect() {
    lab::isolated(|lab| {
        let (_serving, plane) = start(lab)?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let socket = Socket::tcp(family)?;
            socket.fast_open(b"first", vip)?;
            assert_eq!((socket.peer(), socket.identity()), (Ok(vip), Ok(0)), "{family:?}");
            let mut echo = [0; 5];
            socket.receive_whole(&mut echo)?;
            assert_eq!(&echo, b"first", "{family:?}");
        }
        assert_eq!(plane.count(Counter::Translated)?, lab.families()?.len() as u64);
        Ok(())
    });
}

#[test]
fn point_20_a_connect_need_not_be_waited_for() {
    lab::isolated(|lab| {
        let (_serving, mut plane) = start(lab)?;
        publish(&mut plane, "lab/empty:http", OTHER, &[])?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let socket = Socket::tcp(family)?;
            SockRef::from(&socket).set_nonblocking(true)?;
            assert_eq!(socket.connect(vip), Err(Errno::INPROGRESS), "{family:?}");
            poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None)?;
            assert!(SockRef::from(&socket).take_error()?.is_none(), "{family:?}");
            SockRef::from(&socket).set_nonblocking(false)?;
            assert_eq!((socket.peer(), socket.identity()), (Ok(vip), Ok(0)), "{family:?}");
            // A refusal is told at once, and nothing is in progress.
            let refused = Socket::tcp(family)?;
            SockRef::from(&refused).set_nonblocking(true)?;
            for _ in 0..2 {
                assert_eq!(refused.connect(OTHER.seen_by(family)), Err(plane.refusal()));
            }
            // It can still be used.
            assert_eq!(refused.connect(vip), Err(Errno::INPROGRESS), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_20_a_socket_may_be_bound_before_it_connects() {
    lab::isolated(|lab| {
        let (_serving, _plane) = start(lab)?;
        for &family in lab.families()? {
            let vip = VIP.seen_by(family);
            let unspecified = Dual::new(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, 0);
            let everywhere = match family {
                Family::V4 => unspecified.v4.into(),
                // A socket that is bound to the mapped one would be IPv4's alone.
                Family::V6 | Family::Mapped => unspecified.v6.into(),
            };
            for bound in [client(family, 0), client(family, 4242), everywhere] {
                let tcp = Socket::tcp(family)?;
                tcp.bind(bound)?;
                tcp.connect(vip)?;
                assert_eq!((tcp.peer(), tcp.identity()), (Ok(vip), Ok(0)), "{bound}");
                for way in Way::ALL {
                    let udp = Socket::udp(family)?;
                    udp.bind(bound)?;
                    assert_eq!(udp.ask(way, b"?", vip)?.identity, 0, "{bound}, {way:?}");
                    if bound.port() != 0 {
                        assert_eq!(udp.local()?.port(), bound.port());
                    }
                }
            }
        }
        Ok(())
    });
}

#[test]
fn point_25a_one_source_port_may_reach_two_services_unless_they_meet_at_one_backend() {
    lab::isolated(|lab| {
        let (serving, mut plane) = start(lab)?;
        for &family in lab.families()? {
            let from_one_port = |vip: Dual| {
                let socket = Socket::tcp(family)?;
                SockRef::from(&socket).set_reuse_address(true).map_err(errno)?;
                socket.bind(client(family, 4242))?;
                socket.connect(vip.seen_by(family)).map(|()| socket)
            };
            publish(&mut plane, "lab/other:http", OTHER, &[serving.at(1)])?;
            let (first, second) = (from_one_port(VIP)?, from_one_port(OTHER)?);
            assert_eq!((first.identity(), second.identity()), (Ok(0), Ok(1)), "{family:?}");
            assert_eq!(second.peer(), Ok(OTHER.seen_by(family)), "{family:?}");
            drop(second);
            publish(&mut plane, "lab/other:http", OTHER, &[serving.at(0)])?;
            let meeting = from_one_port(OTHER).map(drop);
            assert_eq!(meeting, Err(Errno::ADDRNOTAVAIL), "{family:?}");
        }
        Ok(())
    });
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[test]
fn point_25a_the_error_queue_shows_the_backend() {
    lab::isolated(|lab| {
        let (serving, mut plane) = start(lab)?;
        // Nobody is at this port.
        let absent = serving.pods[0].dual(9);
        publish(&mut plane, "lab/absent:http", OTHER, &[absent])?;
        for &family in lab.families()? {
            let socket = Socket::udp(family)?;
            setsockopt(&socket, Ipv4RecvErr, &true)?;
            if family != Family::V4 {
                setsockopt(&socket, Ipv6RecvErr, &true)?;
            }
            socket.connect(OTHER.seen_by(family))?;
            socket.send(b"?")?;
            assert_eq!(socket.receive(), Err(Errno::CONNREFUSED), "{family:?}");
            let mut datagram = [0; 16];
            let mut control = [MaybeUninit::uninit(); 256];
            let message = rustix::net::recvmsg(
                &socket,
                &mut [IoSliceMut::new(&mut datagram)],
                &mut RecvAncillaryBuffer::new(&mut control),
                RecvFlags::ERRQUEUE,
            )?;
            let to = SocketAddr::try_from(message.address.context("no address")?)?;
            assert_eq!(to, absent.seen_by(family));
        }
        Ok(())
    });
}

/// The most that a socket's options may take, of this network namespace since Linux 6.8.
const OPTMEM_MAX: &str = "/proc/sys/net/core/optmem_max";

/// Leaves a socket no memory for anything that is kept with it. `false` if it has more than can be taken.
fn leave_no_room(socket: &Socket) -> Result<bool> {
    // Where the machine shares one limit, the file is in no other namespace than the first.
    if Path::new(OPTMEM_MAX).exists() {
        fs::write(OPTMEM_MAX, "0")?;
        return Ok(true);
    }
    /// No filter may have more instructions (BPF_MAXINSNS).
    const LONGEST: usize = 4096;
    // A filter takes as much as it is long. This one lets everything through.
    const RETURN_WHOLE: SockFilter = SockFilter::new(0x06, 0, 0, u32::MAX);
    let socket = SockRef::from(socket);
    let attach = |length: usize| {
        let filter: Vec<_> = (0..length).map(|_| RETURN_WHOLE).collect();
        socket.attach_filter(&filter)
    };
    let (mut fits, mut too_long) = (1usize, LONGEST + 1);
    while too_long - fits > 1 {
        let length = fits.midpoint(too_long);
        if attach(length).is_ok() {
            // The next one would be charged before this one is let go.
            socket.detach_filter()?;
            fits = length;
        } else {
            too_long = length;
        }
    }
    attach(fits)?;
    Ok(fits < LONGEST)
}

#[test]
fn point_20_a_socket_without_room_to_remember_is_translated_and_sees_the_backend() {
    let limit = || fs::read_to_string(OPTMEM_MAX).ok();
    let before = limit();
    lab::isolated(|lab| {
        let (serving, plane) = start(lab)?;
        let mut untold = 0;
        for &family in lab.families()? {
            let (vip, backend) = (VIP.seen_by(family), serving.at(0).seen_by(family));
            let tcp = Socket::tcp(family)?;
            if !leave_no_room(&tcp)? {
                let test =
                    "point_20_a_socket_without_room_to_remember_is_translated_and_sees_the_backend";
                return requirement::note_skip(
                    test,
                    "net.core.optmem_max is more than a filter can take",
                );
            }
            tcp.connect(vip)?;
            assert_eq!((tcp.peer(), tcp.identity()), (Ok(backend), Ok(0)), "{family:?}");
            for way in Way::ALL {
                let udp = Socket::udp(family)?;
                assert!(leave_no_room(&udp)?, "{family:?}, {way:?}");
                let answer = udp.ask(way, b"?", vip)?;
                let source = (way != Way::Connected).then_some(backend);
                assert_eq!((answer.identity, answer.source), (0, source), "{family:?}, {way:?}");
            }
            untold += 1 + Way::ALL.len() as u64;
            assert_eq!(plane.count(Counter::Untold)?, untold, "{family:?}");
        }
        assert_eq!(plane.count(Counter::Translated)?, untold);
        Ok(())
    });
    // It was no other namespace that was limited.
    assert_eq!(limit(), before);
}
