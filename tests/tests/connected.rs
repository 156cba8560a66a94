//! Datagrams of sockets that were connected before what they were connected to was served here.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use lab::{exchange::Way, plane::Plane, port::Port, socket::Socket};
use lb_userspace::publish::Sizes;

#[test]
fn point_25_a_socket_that_was_connected_before_keeps_its_peer() {
    lab::isolated(|lab| {
        let pods = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [pods[0].serve_udp([(53, 1)])?, pods[1].serve_udp([(53, 2)])?];
        // The first Pod stands for another proxy, which answers at the Service's address.
        let vip = pods[0].dual(53);
        let before: Vec<_> = lab
            .families()?
            .iter()
            .map(|family| {
                let socket = Socket::udp(*family)?;
                socket.connect(vip.seen_by(*family))?;
                Ok((*family, socket))
            })
            .collect::<anyhow::Result<_>>()?;
        let mut plane = Plane::new(Sizes::new(16, 16))?;
        plane.attach(lab.cgroup())?;
        plane.publish(&Port::udp("lab/dns:dns").at([vip]).to([pods[1].dual(53)]))?;
        for (family, socket) in before {
            // On an AF_INET6 socket with an IPv4 peer, each send() asks sendmsg4.
            socket.send(b"who?")?;
            assert_eq!(socket.receive()?.identity, 1, "{family:?}");
            socket.send_to(b"who?", vip.seen_by(family))?;
            assert_eq!(socket.receive()?.identity, 1, "{family:?}");
            // One that connects from here on is served.
            assert_eq!(socket.ask(Way::Connected, b"who?", vip.seen_by(family))?.identity, 2);
        }
        Ok(())
    });
}
