//! Which addresses are frontends, end to end: external IPs and load balancers', what is left alone,
//! what is dropped, and what is refused. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::Result;
use lab::{
    Lab,
    exchange::Means,
    family::Dual,
    manifest::Service,
    pod::{CLIENT, CLIENT6, Pod},
    programs::Transport,
    reach::{expect, until},
    server::Server,
    socket::{Errno, Socket},
    stage::{Stage, logged, refusal},
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

/// A Service that has this port for TCP and UDP.
fn service(name: &str, at: Dual, pod: &Pod) -> Service {
    Service::tcp(name, at).and(Transport::Udp, at.v4.port()).to([pod.dual(PORT)])
}

/// Serves TCP and UDP at the Pod's own addresses.
fn serve(pod: &Pod, identity: u16) -> Result<[Server; 2]> {
    Ok([pod.serve_echo([(PORT, identity)])?, pod.serve_udp([(PORT, identity)])?])
}

#[test]
fn point_16_external_ips_and_load_balancers_addresses_are_served_as_they_come_and_go() {
    const EXTERNAL: Dual = outside(20);
    const BALANCER: Dual = outside(21);
    const VIP: Dual = outside(22);
    const PROXY: Dual = outside(23);
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _servers = serve(&pod, 1)?;
        let stage = stage(lab)?;
        let web = service("web", WEB, &pod);
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
        let _servers = serve(&pod, 1)?;
        let stage = stage(lab)?;
        let ingress = ips(BALANCER).map(|ip| json!({"ip": ip}));
        let web = service("web", WEB, &pod).ingress(json!(ingress));
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
    const TCP_ALONE: Dual = Dual::cluster_ip(12, 80);
    const UNALLOCATED: Dual = Dual::cluster_ip(99, 80);
    const PROXYS: Dual = Dual::cluster_ip(50, 80);
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _servers = serve(&pod, 1)?;
        let stage = stage(lab)?;
        stage.apply(&service("web", WEB, &pod))?;
        stage.apply(&Service::tcp("tcp-alone", TCP_ALONE).to([pod.dual(PORT)]))?;
        let label = json!({"service.kubernetes.io/service-proxy-name": "another"});
        let proxys = service("proxys", PROXYS, &pod);
        stage.apply(&proxys.metadata(json!({"labels": label})))?;
        let unreachable = Err(Errno::NETUNREACH);
        let expect_all = |refused: Result<u16, Errno>| -> Result<()> {
            expect(lab, WEB, Ok(1))?;
            expect(lab, pod.dual(PORT), Ok(1))?;
            for at in [UNSERVED, UNALLOCATED] {
                expect(lab, at, refused)?;
            }
            // The Service's number, but not its protocol.
            for &family in lab.families()? {
                assert_eq!(Means::Tcp.reach(family, TCP_ALONE), Ok(1), "{family:?}");
                for at in [TCP_ALONE, UNSERVED, UNALLOCATED] {
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
        let _servers = serve(&pod, 1)?;
        let stage = stage(lab)?;
        let hostile = [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "::",
            "ff02::1",
        ];
        let web = service("web", WEB, &pod);
        let web = hostile.iter().fold(web, |web, address| {
            let address = address.parse().expect("an address");
            web.also(SocketAddr::new(address, PORT), json!({}))
        });
        stage.apply(&web)?;
        let agent = stage.start(&[])?;
        for _ in 0..OFTEN {
            expect(lab, WEB, Ok(1))?;
        }
        let (_, log) = agent.stop()?;
        for address in hostile {
            let told = format!("endpoint \"{address}\" is dropped");
            assert!(log.iter().any(|line| line.contains(&told)), "{address}: {log:?}");
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
        let _servers = [serve(&pods[0], 1)?, serve(&pods[1], 2)?];
        let stage = stage(lab)?;
        let created = |time: &str| json!({"creationTimestamp": time});
        let web = service("web", WEB, &pods[0]);
        let web = web.spec(json!({"externalIPs": ips(SHARED)}));
        stage.apply(&web.metadata(created("2026-02-01T00:00:00Z")))?;
        let wanted = [WEB, API_SERVER, NODE, SHARED].map(ips).concat();
        let thief = service("thief", Dual::cluster_ip(11, 80), &pods[1]);
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
        logged(&agent, &["default/thief", "192.0.2.31", "default/web has it"])?;
        // Later though it was created, it is the older one now.
        stage.apply(&thief.metadata(created("2026-01-01T00:00:00Z")))?;
        until(lab, SHARED, Ok(2))?;
        expect(lab, WEB, Ok(1))?;
        // With its owner the address is anybody's.
        stage.remove("web")?;
        until(lab, WEB, Ok(2))
    });
}
