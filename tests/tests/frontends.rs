//! Which addresses are frontends, end to end: external IPs and load balancers', what is left alone,
//! what is dropped, and what is refused. Numbers in names are those of docs/semantics.md.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener},
    path::Path,
    thread,
};

use anyhow::{Result, ensure};
use lab::{
    Lab,
    family::{Dual, Family},
    manifest::Service,
    pod::{CLIENT, CLIENT6},
    programs::Transport,
    socket::{Errno, Socket},
    stage::{Stage, eventually, logged, refusal},
};
use serde_json::json;

const WEB: Dual = Dual::cluster_ip(10, 80);
const PORT: u16 = 8080;
/// As often as it takes for each of two backends to be chosen, as good as certainly.
const OFTEN: usize = 30;

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

/// An address of no cluster's, with the Service's port.
const fn outside(host: u8) -> Dual {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host as u16);
    Dual::new(Ipv4Addr::new(192, 0, 2, host), v6, 80)
}

fn ips(at: Dual) -> [IpAddr; 2] {
    [IpAddr::V4(*at.v4.ip()), IpAddr::V6(*at.v6.ip())]
}

/// Who answers a TCP connection there.
fn reached(family: Family, at: Dual) -> Result<u16, Errno> {
    let socket = Socket::tcp(family)?;
    socket.connect(at.seen_by(family))?;
    socket.identity()
}

/// Fails unless sockets of each family get this there.
fn expect(lab: &Lab, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
    for &family in lab.families()? {
        let got = reached(family, at);
        ensure!(got == wanted, "{at:?}, {family:?}: {got:?}, not {wanted:?}");
    }
    Ok(())
}

fn until(lab: &Lab, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
    eventually(&format!("{wanted:?} at {at:?}"), || Ok(expect(lab, at, wanted).is_ok()))
}

#[test]
fn point_16_external_ips_and_load_balancers_addresses_are_served_as_they_come_and_go() {
    const EXTERNAL: Dual = outside(20);
    const BALANCER: Dual = outside(21);
    const VIP: Dual = outside(22);
    const PROXY: Dual = outside(23);
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 1)])?;
        let stage = stage(lab)?;
        let web = Service::tcp("web", WEB).to([pod.dual(PORT)]);
        let ingress = |at: Dual, mode: &str| ips(at).map(|ip| json!({"ip": ip, "ipMode": mode}));
        let mut balancers: Vec<_> = ips(BALANCER).map(|ip| json!({"ip": ip})).to_vec();
        balancers.extend(ingress(VIP, "VIP").into_iter().chain(ingress(PROXY, "Proxy")));
        balancers.push(json!({"hostname": "balancer.lab.test"}));
        let external = json!({"externalIPs": ips(EXTERNAL)});
        stage.apply(&web.clone().spec(external).ingress(json!(balancers)))?;
        let _agent = stage.start(&[])?;
        for at in [WEB, EXTERNAL, BALANCER, VIP] {
            expect(lab, at, Ok(1))?;
        }
        expect(lab, PROXY, Err(Errno::NETUNREACH))?;
        stage.apply(&web)?;
        for at in [EXTERNAL, BALANCER, VIP] {
            until(lab, at, Err(Errno::NETUNREACH))?;
        }
        expect(lab, WEB, Ok(1))?;
        stage.apply(&web.spec(json!({"externalIPs": ips(PROXY)})))?;
        until(lab, PROXY, Ok(1))
    });
}

#[test]
fn point_17_source_ranges_leave_the_balancers_address_alone() {
    const BALANCER: Dual = outside(21);
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 1)])?;
        let stage = stage(lab)?;
        let ingress = ips(BALANCER).map(|ip| json!({"ip": ip}));
        let web = Service::tcp("web", WEB).to([pod.dual(PORT)]).ingress(json!(ingress));
        let ranges =
            |ranges: &[&str]| web.clone().spec(json!({"loadBalancerSourceRanges": ranges}));
        stage.apply(&ranges(&["192.168.0.0/16", "2001:db8:1::/48"]))?;
        let agent = stage.start(&[])?;
        expect(lab, WEB, Ok(1))?;
        expect(lab, BALANCER, Err(Errno::NETUNREACH))?;
        logged(&agent, &["default/web", "192.0.2.21", "loadBalancerSourceRanges"])?;
        stage.apply(&ranges(&["192.168.0.0/16", "0.0.0.0/0", "::/0"]))?;
        until(lab, BALANCER, Ok(1))
    });
}

#[test]
fn point_18_what_no_service_has_is_refused_if_asked_for() {
    const UNSERVED: Dual = Dual::cluster_ip(10, 81);
    const UNALLOCATED: Dual = Dual::cluster_ip(99, 80);
    const PROXYS: Dual = Dual::cluster_ip(50, 80);
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 1)])?;
        let stage = stage(lab)?;
        stage.apply(&Service::tcp("web", WEB).to([pod.dual(PORT)]))?;
        let label = json!({"service.kubernetes.io/service-proxy-name": "another"});
        let proxys = Service::tcp("proxys", PROXYS).to([pod.dual(PORT)]);
        stage.apply(&proxys.metadata(json!({"labels": label})))?;
        let unreachable = Err(Errno::NETUNREACH);
        let expect_all = |refused: Result<u16, Errno>| -> Result<()> {
            expect(lab, WEB, Ok(1))?;
            expect(lab, pod.dual(PORT), Ok(1))?;
            for at in [UNSERVED, UNALLOCATED] {
                expect(lab, at, refused)?;
            }
            // The Service's number, but not its protocol.
            for at in [WEB, UNSERVED, UNALLOCATED] {
                for &family in lab.families()? {
                    let refused = refused.map(drop);
                    let to = at.seen_by(family);
                    assert_eq!(Socket::udp(family)?.send_to(b"?", to), refused, "{to}");
                    assert_eq!(Socket::udp(family)?.connect(to), refused, "{to}");
                }
            }
            for at in [PROXYS, outside(1)] {
                expect(lab, at, unreachable)?;
            }
            Ok(())
        };
        stage.start(&[])?.stop()?;
        expect_all(unreachable)?;
        let cidrs = ["--refuse-unserved", "--service-cidr", "10.96.0.0/16,fd00:10:96::/112"];
        let _agent = stage.start(&cidrs)?;
        expect_all(Err(refusal(Errno::CONNREFUSED)?))
    });
}

#[test]
fn point_18a_hostile_endpoints_are_dropped() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 1)])?;
        let stage = stage(lab)?;
        let hostile = ["127.0.0.1", "169.254.169.254", "0.0.0.0"];
        let web = Service::tcp("web", WEB).to([pod.dual(PORT)]);
        let web = hostile.iter().fold(web, |web, address| {
            let address = address.parse().expect("an address");
            web.also(SocketAddrV4::new(address, PORT), json!({}))
        });
        stage.apply(&web)?;
        let agent = stage.start(&[])?;
        for _ in 0..OFTEN {
            expect(lab, WEB, Ok(1))?;
        }
        let (_, log) = agent.stop()?;
        for address in hostile {
            let told = |line: &String| line.contains(address) && line.contains("is dropped");
            assert!(log.iter().any(told), "{address}: {log:?}");
        }
        Ok(())
    });
}

#[test]
fn point_18a_no_service_takes_over_what_is_anothers() {
    const API_SERVER: Dual = outside(30);
    const NODE: Dual = Dual::new(CLIENT, CLIENT6, 80);
    const SHARED: Dual = outside(31);
    lab::isolated(|lab| {
        let pods = [lab.pod(0)?, lab.pod(1)?];
        let _servers = [pods[0].serve([(PORT, 1)])?, pods[1].serve([(PORT, 2)])?];
        let stage = stage(lab)?;
        let created = |time: &str| json!({"creationTimestamp": time});
        let web = Service::tcp("web", WEB).to([pods[0].dual(PORT)]);
        let web = web.spec(json!({"externalIPs": ips(SHARED)}));
        stage.apply(&web.metadata(created("2026-02-01T00:00:00Z")))?;
        let wanted = [WEB, API_SERVER, NODE, SHARED].map(ips).concat();
        let thief = Service::tcp("thief", Dual::cluster_ip(11, 80)).to([pods[1].dual(PORT)]);
        let thief = thief.spec(json!({"externalIPs": wanted}));
        stage.apply(&thief.clone().metadata(created("2026-02-02T00:00:00Z")))?;
        let api_server = API_SERVER.v4.ip().to_string();
        let api_server6 = API_SERVER.v6.ip().to_string();
        let flag = "--api-server-address";
        let agent = stage.start(&[flag, &api_server, flag, &api_server6])?;
        for at in [WEB, SHARED] {
            expect(lab, at, Ok(1))?;
        }
        expect(lab, API_SERVER, Err(Errno::NETUNREACH))?;
        expect(lab, NODE, Err(Errno::CONNREFUSED))?;
        logged(&agent, &["default/thief", "192.0.2.31", "default/web is older"])?;
        // Later though it was created, it is the older one now.
        stage.apply(&thief.metadata(created("2026-01-01T00:00:00Z")))?;
        until(lab, SHARED, Ok(2))?;
        expect(lab, WEB, Ok(1))?;
        // With its owner the address is anybody's.
        stage.remove("web")?;
        until(lab, WEB, Ok(2))
    });
}

#[test]
fn point_18b_what_a_local_interface_has_is_left_alone_unless_asked_for() {
    const LOCAL: u16 = 9;
    const POD: u16 = 1;
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, POD)])?;
        let stage = stage(lab)?;
        // A second port that nobody listens on at the node.
        stage.apply(&Service::tcp("web", WEB).and(Transport::Tcp, 81).to([pod.dual(PORT)]))?;
        let other = Dual::cluster_ip(10, 81);
        let addresses: Vec<_> =
            ips(WEB).into_iter().filter(|ip| ip.is_ipv4() || lab.has_ipv6()).collect();
        let assign = || addresses.iter().try_for_each(|address| lab.assign(*address));
        let unassign = || addresses.iter().try_for_each(|address| lab.unassign(*address));
        assign()?;
        for address in &addresses {
            let listener = TcpListener::bind((*address, WEB.v4.port()))?;
            // Ends with the experiment.
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let _ = stream.write_all(&LOCAL.to_be_bytes());
                }
            });
        }
        let agent = stage.start(&[])?;
        logged(&agent, &["default/web", "10.96.0.10", "--translate-local-addresses"])?;
        for _ in 0..2 {
            until(lab, WEB, Ok(LOCAL))?;
            expect(lab, other, Err(Errno::CONNREFUSED))?;
            unassign()?;
            until(lab, WEB, Ok(POD))?;
            expect(lab, other, Ok(POD))?;
            assign()?;
        }
        until(lab, WEB, Ok(LOCAL))?;
        agent.stop()?;
        let _agent = stage.start(&["--translate-local-addresses"])?;
        expect(lab, WEB, Ok(POD))?;
        expect(lab, other, Ok(POD))
    });
}
