//! Sockets of every kind, and every way of using them, between the client and Pods.

use lab::{
    exchange::Way,
    family::{Dual, Family, mapped},
    pod::{CLIENT, CLIENT6},
    requirement::Need,
    socket::{Errno, Socket},
};

use super::PORT;

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
