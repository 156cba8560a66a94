//! The laboratory itself: isolation from the machine, Pods, and nothing left behind.
#![forbid(unsafe_code)]

mod bodies;
mod sockets;

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener},
};

use lab::{
    client::{TIMEOUT, connect},
    family::Dual,
    pod::CLIENT,
    socket::{Errno, Socket},
};

/// An address of the kind that clusters give to Services.
const CLUSTER_IP: Dual =
    Dual::new(Ipv4Addr::new(10, 96, 0, 10), Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 10), 80);
/// An address for documentation, which belongs to nobody.
const OUTSIDE: Dual =
    Dual::new(Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 80);
const PORT: u16 = 8080;

#[test]
fn neither_client_nor_pod_has_a_route_out() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        for &family in lab.families()? {
            for address in [CLUSTER_IP, OUTSIDE].map(|address| address.seen_by(family)) {
                let connect = || {
                    [Socket::tcp(family), Socket::udp(family)]
                        .map(|socket| socket.and_then(|socket| socket.connect(address)))
                };
                assert_eq!(connect(), [Err(Errno::NETUNREACH); 2], "client, {address}");
                let inside = pod.namespace().run(connect);
                assert_eq!(inside, [Err(Errno::NETUNREACH); 2], "pod, {address}");
            }
        }
        Ok(())
    });
}

#[test]
fn what_a_pod_sends_to_a_pod_that_does_not_exist_goes_nowhere() {
    lab::isolated(|lab| {
        let absent = Dual::new(
            Ipv4Addr::new(10, 244, 0, 200),
            Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 200),
            PORT,
        );
        for (index, &family) in (1..).zip(lab.families()?) {
            // The kernel says so to one address so many times only, and then once a second.
            let pod = lab.pod(index)?;
            let address = absent.seen_by(family);
            let outcome = pod.namespace().run(|| Socket::tcp(family)?.connect(address));
            // The client's namespace says so, which is as far as it gets.
            assert_eq!(outcome, Err(Errno::NETUNREACH), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn pods_reach_each_other_though_the_client_has_talked_to_neither() {
    lab::isolated(|lab| {
        let [pod, other] = [lab.pod(1)?, lab.pod(2)?];
        let _server = pod.serve([(PORT, 7)])?;
        for &family in lab.families()? {
            let reached = other.namespace().run(|| {
                let socket = Socket::tcp(family)?;
                socket.connect(pod.dual(PORT).seen_by(family))?;
                socket.identity()
            });
            assert_eq!(reached, Ok(7), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn each_listener_of_each_pod_says_who_it_is() {
    lab::isolated(|lab| {
        let pods = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let ports = 8000..8064;
        let mut servers = Vec::new();
        for (pod, first) in pods.iter().zip([0, 100, 200]) {
            servers.push(pod.serve(ports.clone().zip(first..))?);
        }
        for (pod, first) in pods.iter().zip([0, 100, 200]) {
            for (port, identity) in ports.clone().zip(first..) {
                let seen = connect(pod.socket(port), TIMEOUT)?.identity()?;
                assert_eq!(seen, identity, "{}", pod.socket(port));
            }
        }
        for server in servers {
            assert_eq!(server.accepted(), vec![1; ports.len()]);
        }
        Ok(())
    });
}

#[test]
fn a_thread_in_a_pod_connects_from_the_pods_address() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let listener = TcpListener::bind((CLIENT, 80))?;
        let address = SocketAddrV4::new(CLIENT, 80);
        let thread = pod.namespace().spawn(move || connect(address, TIMEOUT).map(drop))?;
        assert_eq!(listener.accept()?.1.ip(), pod.address());
        thread.join().unwrap()?;
        Ok(())
    });
}

#[test]
fn a_port_without_listener_refuses() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let error = connect(pod.socket(9), TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        drop(pod.serve([(9, 1)])?);
        let error = connect(pod.socket(9), TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "its listener is gone");
        Ok(())
    });
}

#[test]
fn many_more_connections_than_ports_leave_no_port_taken() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let server = pod.serve([(80, 1)])?;
        // They suffice for any number of connections, if none stays in TIME_WAIT.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40099")?;
        for _ in 0..1000 {
            assert_eq!(connect(pod.socket(80), TIMEOUT)?.identity()?, 1);
        }
        assert_eq!(server.accepted(), [1000]);
        Ok(())
    });
}
