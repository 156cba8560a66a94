//! The laboratory itself: isolation from the machine, Pods, and nothing left behind.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use lab::{
    client::{TIMEOUT, connect},
    exchange::Way,
    family::{Dual, Family, mapped},
    pod::{CLIENT, CLIENT6},
    requirement::Need,
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
        let pod = lab.pod(1)?;
        let absent = Dual::new(
            Ipv4Addr::new(10, 244, 0, 200),
            Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 200),
            PORT,
        );
        for &family in lab.families()? {
            let address = absent.seen_by(family);
            let outcome = pod.namespace().run(|| Socket::tcp(family)?.connect(address));
            // The client's namespace says so, which is as far as it gets.
            assert_eq!(outcome, Err(Errno::NETUNREACH), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn each_kind_of_socket_reaches_a_pod_from_the_client_and_from_another_pod() {
    lab::isolated(|lab| {
        let [pod, other] = [lab.pod(1)?, lab.pod(2)?];
        let server = pod.serve([(PORT, 7)])?;
        let mut connections = 0;
        for &family in lab.families()? {
            let address = pod.dual(PORT).seen_by(family);
            let client = Dual::new(CLIENT, CLIENT6, 0).seen_by(family).ip();
            let there = other.dual(0).seen_by(family).ip();
            for (from, namespace) in [(client, None), (there, Some(other.namespace()))] {
                let connect = || {
                    let socket = Socket::tcp(family)?;
                    socket.connect(address)?;
                    Ok::<_, Errno>((socket.peer()?, socket.local()?.ip(), socket.identity()?))
                };
                let seen = namespace.map_or_else(connect, |namespace| namespace.run(connect))?;
                assert_eq!(seen, (address, from, 7), "{family:?}");
                connections += 1;
            }
        }
        assert_eq!(server.accepted(), [connections]);
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
fn each_way_of_sending_a_datagram_is_answered_from_where_it_went() {
    lab::isolated(|lab| {
        let [pod, other] = [lab.pod(1)?, lab.pod(2)?];
        let server = pod.serve_udp([(PORT, 7), (PORT + 1, 8)])?;
        let mut datagrams = 0;
        for &family in lab.families()? {
            for way in Way::ALL {
                // One socket talks to both: a connected one is connected anew.
                let ask = || {
                    let socket = Socket::udp(family)?;
                    for (port, identity, payload) in [(PORT, 7, "one"), (PORT + 1, 8, "")] {
                        let address = pod.dual(port).seen_by(family);
                        let answer = socket.ask(way, payload.as_bytes(), address)?;
                        assert_eq!(answer.identity, identity, "{family:?}, {way:?}");
                        let source = (way != Way::Connected).then_some(address);
                        assert_eq!(answer.source, source, "{family:?}, {way:?}");
                    }
                    Ok::<_, Errno>(())
                };
                ask()?;
                other.namespace().run(ask)?;
                datagrams += 2;
            }
        }
        assert_eq!(server.accepted(), [datagrams; 2]);
        Ok(())
    });
}

#[test]
fn an_ipv6_udp_socket_may_be_told_plain_ipv4_addresses() {
    lab::isolated_with(&[Need::Ipv6], |lab| {
        let pod = lab.pod(1)?;
        let _server = pod.serve_udp([(PORT, 7)])?;
        for way in Way::ALL {
            let answer = Socket::udp(Family::V6)?.ask(way, b"?", pod.socket(PORT))?;
            let source = (way != Way::Connected).then_some(mapped(pod.socket(PORT)));
            assert_eq!((answer.identity, answer.source), (7, source), "{way:?}");
        }
        Ok(())
    });
}

#[test]
fn a_disconnected_socket_has_no_peer_and_can_be_connected_again() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let _servers = (pod.serve([(PORT, 7)])?, pod.serve_udp([(PORT, 7)])?);
        for &family in lab.families()? {
            let address = pod.dual(PORT).seen_by(family);
            for socket in [Socket::tcp(family)?, Socket::udp(family)?] {
                for _ in 0..2 {
                    socket.connect(address)?;
                    assert_eq!(socket.peer(), Ok(address));
                    socket.disconnect()?;
                    assert_eq!(socket.peer(), Err(Errno::NOTCONN));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_udp_port_without_server_refuses_connected_sockets() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        for &family in lab.families()? {
            let address = pod.dual(9).seen_by(family);
            let outcome = Socket::udp(family)?.ask(Way::Connected, b"?", address);
            assert_eq!(outcome, Err(Errno::CONNREFUSED), "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn data_that_is_sent_by_a_fast_open_is_echoed() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let server = pod.serve_echo([(PORT, 7)])?;
        for &family in lab.families()? {
            let address = pod.dual(PORT).seen_by(family);
            let socket = Socket::tcp(family)?;
            socket.fast_open(b"first", address)?;
            assert_eq!((socket.peer(), socket.identity()), (Ok(address), Ok(7)));
            socket.send(b", second")?;
            let mut echo = [0; 13];
            socket.receive_whole(&mut echo)?;
            assert_eq!(&echo, b"first, second");
        }
        assert_eq!(server.accepted(), [lab.families()?.len() as u64]);
        Ok(())
    });
}

#[test]
fn a_multipath_tcp_socket_reaches_a_pod() {
    lab::isolated_with(&[Need::Mptcp], |lab| {
        let pod = lab.pod(1)?;
        let _server = pod.serve([(PORT, 7)])?;
        for &family in lab.families()? {
            let socket = Socket::mptcp(family)?;
            socket.connect(pod.dual(PORT).seen_by(family))?;
            assert_eq!(socket.identity(), Ok(7));
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
                let connection = connect(pod.socket(port), TIMEOUT)?;
                assert!(connection.took < TIMEOUT);
                assert_eq!(connection.identity()?, identity, "{}", pod.socket(port));
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

#[test]
fn the_body_runs_in_its_cgroup_and_sees_only_its_own_links() {
    lab::isolated(|lab| {
        let _pod = lab.pod(1)?;
        let procs = fs::read_to_string(lab.cgroup().join("cgroup.procs"))?;
        assert_eq!(procs.trim(), std::process::id().to_string(), "alone in its cgroup");
        let links = fs::read_to_string("/proc/thread-self/net/dev")?;
        let mut links: Vec<_> =
            links.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        links.sort_unstable();
        assert_eq!(links, ["lo", "pod1"]);
        Ok(())
    });
}

#[test]
fn nothing_remains_of_a_body_that_leaves_a_process_and_files() {
    let observed = lab::observe(Duration::from_secs(60), |lab| {
        fs::write(lab.scratch().join("file"), "")?;
        let process = Command::new("sleep").arg("600").spawn()?;
        println!("left {} in {}", process.id(), lab.scratch().display());
        Ok(())
    });
    let Some(observed) = observed else { return };
    assert!(observed.passed, "{}", observed.output);
    let line = observed.output.lines().find_map(|line| line.strip_prefix("left ")).unwrap();
    let (pid, scratch) = line.split_once(" in ").unwrap();
    // A zombie has ended; it only waits for init to take notice.
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    assert!(state.is_err() || state.unwrap().contains(" Z "), "the process has ended");
    assert!(!fs::exists(scratch).unwrap(), "the folder is gone");
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}

#[test]
fn cgroups_inside_of_the_bodys_own_go_with_it() {
    let observed = lab::observe(Duration::from_secs(60), |lab| {
        let inner = lab.cgroup().join("outer/inner");
        fs::create_dir_all(&inner)?;
        fs::write(inner.join("cgroup.procs"), "0")?;
        Command::new("sleep").arg("600").spawn()?;
        Ok(())
    });
    let Some(observed) = observed else { return };
    assert!(observed.passed, "{}", observed.output);
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}

#[test]
fn a_body_that_panics_is_reported_and_nothing_remains() {
    let Some(observed) = lab::observe(Duration::from_secs(60), |_| panic!("on purpose")) else {
        return;
    };
    assert!(!observed.passed && !observed.ended.killed);
    assert!(observed.output.contains("on purpose"), "{}", observed.output);
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}

#[test]
fn a_body_that_does_not_end_is_killed_in_time() {
    let start = Instant::now();
    let observed = lab::observe(Duration::from_millis(500), |_| {
        // Nobody connects.
        TcpListener::bind((Ipv4Addr::LOCALHOST, 80))?.accept()?;
        Ok(())
    });
    let Some(observed) = observed else { return };
    assert!(!observed.passed && observed.ended.killed);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}
