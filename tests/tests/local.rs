//! A ClusterIP that an interface of the node has, as with NodeLocal DNSCache, end to end. Numbers in
//! names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Result, ensure};
use lab::{
    Lab,
    exchange::Way,
    family::{Dual, Family},
    manifest::Service,
    pod::Pod,
    programs::Transport,
    reach::{expect, until},
    server::Server,
    socket::{Errno, Socket},
    stage::{Stage, eventually, logged},
};

const WEB: Dual = Dual::cluster_ip(10, 80);
const PORT: u16 = 8080;
/// What listens at the node for the Service's own address says.
const LOCAL: u16 = 9;
/// What the Service's backend says.
const POD: u16 = 1;

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

fn web(pod: &Pod) -> Service {
    Service::tcp("web", WEB).and(Transport::Udp, 80).to([pod.dual(PORT)])
}

fn serve(pod: &Pod) -> Result<[Server; 2]> {
    Ok([pod.serve_echo([(PORT, POD)])?, pod.serve_udp([(PORT, POD)])?])
}

/// Gives the node the Service's addresses, and takes them away.
struct Local<'lab> {
    lab: &'lab Lab,
    addresses: Vec<IpAddr>,
    servers: Vec<Server>,
}

impl<'lab> Local<'lab> {
    /// With the addresses, and with listeners there, which stay when the addresses go.
    fn new(lab: &'lab Lab) -> Result<Self> {
        let v6 = lab.has_ipv6().then_some(IpAddr::V6(*WEB.v6.ip()));
        let addresses = [IpAddr::V4(*WEB.v4.ip())].into_iter().chain(v6).collect();
        let mut local = Self { lab, addresses, servers: Vec::new() };
        local.assign()?;
        for &address in &local.addresses {
            let at = SocketAddr::new(address, WEB.v4.port());
            local.servers.extend([Server::echo(at, LOCAL)?, Server::answer(at, LOCAL)?]);
        }
        Ok(local)
    }

    fn assign(&self) -> Result<()> {
        self.addresses.iter().try_for_each(|&address| self.lab.assign(address))
    }

    fn unassign(&self) -> Result<()> {
        self.addresses.iter().try_for_each(|&address| self.lab.unassign(address))
    }
}

#[test]
fn point_18b_what_a_local_interface_has_is_left_alone_unless_asked_for() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _servers = serve(&pod)?;
        let stage = stage(lab)?;
        // A second port that nobody listens on at the node.
        let web = web(&pod).and(Transport::Tcp, 81).and(Transport::Udp, 81);
        stage.apply(&web)?;
        let other = Dual::cluster_ip(10, 81);
        let local = Local::new(lab)?;
        let agent = stage.start(&[])?;
        logged(&agent, &["default/web", "10.96.0.10", "--translate-local-addresses"])?;
        for _ in 0..2 {
            until(lab, WEB, Ok(LOCAL))?;
            until(lab, other, Err(Errno::CONNREFUSED))?;
            local.unassign()?;
            until(lab, WEB, Ok(POD))?;
            until(lab, other, Ok(POD))?;
            local.assign()?;
        }
        until(lab, WEB, Ok(LOCAL))?;
        agent.stop()?;
        let _agent = stage.start(&["--translate-local-addresses"])?;
        expect(lab, WEB, Ok(POD))?;
        expect(lab, other, Ok(POD))
    });
}

#[test]
fn point_18b_an_unconnected_udp_socket_follows_its_service_to_a_local_address_and_back() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _servers = serve(&pod)?;
        let stage = stage(lab)?;
        stage.apply(&web(&pod))?;
        let local = Local::new(lab)?;
        local.unassign()?;
        let _agent = stage.start(&[])?;
        let sockets = lab.families()?.iter().map(|&family| Ok((family, Socket::udp(family)?)));
        let sockets = sockets.collect::<Result<Vec<_>>>()?;
        let ask = |family: Family, socket: &Socket| -> Result<_> {
            let answer = socket.ask(Way::SendTo, b"who?", WEB.seen_by(family));
            if let Ok(answer) = &answer {
                let source = answer.source;
                ensure!(source == Some(WEB.seen_by(family)), "{family:?}: shown {source:?}");
            }
            Ok(answer.map(|answer| answer.identity))
        };
        // All are translated before the address is local.
        for (family, socket) in &sockets {
            assert_eq!(ask(*family, socket)?, Ok(POD), "{family:?}");
        }
        let until = |wanted: u16| -> Result<()> {
            sockets.iter().try_for_each(|(family, socket)| {
                eventually(&format!("{wanted} for {family:?}"), || {
                    Ok(ask(*family, socket)? == Ok(wanted))
                })
            })?;
            // Nothing changes any more.
            for _ in 0..3 {
                for (family, socket) in &sockets {
                    assert_eq!(ask(*family, socket)?, Ok(wanted), "{family:?}");
                }
            }
            Ok(())
        };
        for _ in 0..2 {
            local.assign()?;
            until(LOCAL)?;
            local.unassign()?;
            until(POD)?;
        }
        Ok(())
    });
}
