//! Programs that nobody here wrote, through Services and the agent as users run it: curl and nginx,
//! dig, the C library's resolver and dnsmasq, nginx as a client that looks names up, iperf3.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    path::Path,
};

use anyhow::{Result, ensure};
use lab::{
    Lab,
    family::{Dual, Family},
    manifest::Service,
    pod::Pod,
    programs::{Process, Programs, Transport, curl, dns, iperf3, nginx},
    requirement::Need::{self, Program},
    stage::{Stage, eventually},
};

/// What DNS servers tell as the address of a web server, where nobody goes there.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const HTTP: u16 = 8080;
const DNS: u16 = 53;
const IPERF: u16 = 5201;

fn guard() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_socklb-lab"))
}

fn programs(lab: &Lab) -> Programs<'_> {
    Programs::new(lab, guard())
}

/// Those that a program can be told on its command line.
fn families(lab: &Lab) -> Result<impl Iterator<Item = Family>> {
    Ok(lab.families()?.iter().copied().filter(|&family| family != Family::Mapped))
}

/// DNS over UDP and TCP, at these Pods.
fn dns_at<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Service {
    let backends = pods.into_iter().map(|pod| pod.dual(DNS));
    Service::udp("dns", Dual::cluster_ip(10, DNS)).and(Transport::Tcp, DNS).to(backends)
}

#[test]
fn curl_fetches_from_nginx() {
    lab::isolated_with(&[Program("curl"), Program("nginx")], |lab| {
        let programs = programs(lab);
        let pods = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [
            nginx::serve(&programs, &pods[0], HTTP, "pod 1")?,
            nginx::serve(&programs, &pods[1], HTTP, "pod 2")?,
        ];
        let stage = Stage::new(lab, guard())?;
        stage.apply(
            &Service::tcp("web", Dual::cluster_ip(10, 80))
                .to(pods.each_ref().map(|pod| pod.dual(HTTP))),
        )?;
        let _agent = stage.start(&[])?;
        for family in families(lab)? {
            let url = format!("http://{}/", Dual::cluster_ip(10, 80).seen_by(family));
            for wanted in ["pod 1", "pod 2"] {
                eventually(wanted, || {
                    let answer = curl::get(&programs, &url)?;
                    ensure!(["pod 1", "pod 2"].contains(&&*answer), "{url}: {answer}");
                    Ok(answer == wanted)
                })?;
            }
        }
        Ok(())
    });
}

#[test]
fn dig_asks_dnsmasq_over_udp_and_tcp() {
    lab::isolated_with(&[Program("dig"), Program("dnsmasq")], |lab| {
        let programs = programs(lab);
        let pod = lab.pod(1)?;
        let _server = dns::serve(&programs, &pod, DNS, "pod 1", NOWHERE)?;
        let stage = Stage::new(lab, guard())?;
        stage.apply(&dns_at([&pod]))?;
        let _agent = stage.start(&[])?;
        for family in families(lab)? {
            for transport in [Transport::Udp, Transport::Tcp] {
                let server = Dual::cluster_ip(10, DNS).seen_by(family);
                assert_eq!(dns::dig(&programs, transport, server)?, "pod 1", "{server}");
            }
        }
        Ok(())
    });
}

#[test]
fn point_20_the_c_librarys_resolver_believes_the_server_in_resolv_conf() {
    lab::isolated_with(&[Program("getent"), Program("dnsmasq")], |lab| {
        let programs = programs(lab);
        let pod = lab.pod(1)?;
        let _server = dns::serve(&programs, &pod, DNS, "pod 1", NOWHERE)?;
        let stage = Stage::new(lab, guard())?;
        stage.apply(&dns_at([&pod]))?;
        let _agent = stage.start(&[])?;
        for family in families(lab)? {
            let server = Dual::cluster_ip(10, DNS).seen_by(family).ip();
            assert_eq!(dns::look_up(&programs, server, dns::WEB)?, [NOWHERE], "{server}");
        }
        Ok(())
    });
}

/// A web server of two, nginx in front of them that asks the DNS Service which, and the DNS server's
/// Pod, whose place another takes.
struct Replacement<'a> {
    programs: &'a Programs<'a>,
    stage: Stage<'a>,
    dns: [Pod; 2],
    before: Option<Process>,
    silent: Option<UdpSocket>,
    url: String,
    _others: [Process; 4],
}

impl<'a> Replacement<'a> {
    /// Up to the moment that nginx has asked the first server.
    fn new(lab: &'a Lab, programs: &'a Programs<'a>, resolver: SocketAddr) -> Result<Self> {
        let webs = [lab.pod(1)?, lab.pod(2)?];
        let dns = [lab.pod(3)?, lab.pod(4)?];
        let before = dns::serve(programs, &dns[0], DNS, "before", webs[0].address().into())?;
        let after = dns::serve(programs, &dns[1], DNS, "after", webs[1].address().into())?;
        let listen: SocketAddr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, HTTP).into();
        let others = [
            nginx::serve(programs, &webs[0], HTTP, "web 1")?,
            nginx::serve(programs, &webs[1], HTTP, "web 2")?,
            nginx::forward(programs, listen, resolver, HTTP)?,
            after,
        ];
        let stage = Stage::new(lab, guard())?;
        stage.apply(&dns_at([&dns[0]]))?;
        let url = format!("http://{listen}/");
        let before = Some(before);
        Ok(Self { programs, stage, dns, before, silent: None, url, _others: others })
    }

    /// Replaces the first server, which stays silent from now on, as a Pod that is gone: no error
    /// from there tells nginx anything.
    fn replace(&mut self) -> Result<()> {
        // An error says that the answer did not come in time.
        eventually("the first server", || Ok(self.fetch().is_ok_and(|answer| answer == "web 1")))?;
        drop(self.before.take());
        let [before, after] = &self.dns;
        self.silent = Some(before.namespace().run(|| UdpSocket::bind(before.socket(DNS)))?);
        self.stage.apply(&dns_at([after]))?;
        eventually("the second server", || {
            let who = dns::dig(self.programs, Transport::Udp, Dual::cluster_ip(10, DNS).v4.into());
            Ok(who.is_ok_and(|who| who == "after"))
        })
    }

    /// Fetches what nginx does.
    fn fetch(&self) -> Result<String> {
        curl::get(self.programs, &self.url)
    }
}

#[test]
fn point_22_nginx_recovers_by_itself_when_its_dns_server_is_replaced() {
    let mut needs = ["curl", "nginx", "dnsmasq", "dig"].map(Program).to_vec();
    needs.push(Need::Origins);
    lab::isolated_with(&needs, |lab| {
        let programs = programs(lab);
        let mut replacement =
            Replacement::new(lab, &programs, Dual::cluster_ip(10, DNS).v4.into())?;
        let _agent = replacement.stage.start(&[])?;
        replacement.replace()?;
        // An error while it waits for the answer of the first one's is as good as any.
        eventually("the new address", || {
            Ok(replacement.fetch().is_ok_and(|answer| answer == "web 2"))
        })
    });
}

#[test]
fn point_22_nginx_never_recovers_without_help() {
    lab::isolated_with(&["curl", "nginx", "dnsmasq", "dig"].map(Program), |lab| {
        let programs = programs(lab);
        let mut replacement =
            Replacement::new(lab, &programs, Dual::cluster_ip(10, DNS).v4.into())?;
        let _agent = replacement.stage.start(&["--close-stale", "none"])?;
        replacement.replace()?;
        // The name that it knows is good for a second; after that it asks the silent one.
        eventually("an error", || match replacement.fetch() {
            Ok(answer) => {
                ensure!(answer == "web 1", "nginx has asked the new server: {answer}");
                Ok(false)
            }
            Err(_) => Ok(true),
        })?;
        ensure!(replacement.fetch().is_err(), "nginx has asked the new server");
        Ok(())
    });
}

#[test]
fn iperf3_sends_over_tcp_and_udp() {
    lab::isolated_with(&[Program("iperf3")], |lab| {
        let programs = programs(lab);
        let pod = lab.pod(1)?;
        let stage = Stage::new(lab, guard())?;
        let service = Service::tcp("iperf", Dual::cluster_ip(10, IPERF)).and(Transport::Udp, IPERF);
        stage.apply(&service.to([pod.dual(IPERF)]))?;
        let _agent = stage.start(&[])?;
        for family in families(lab)? {
            let address = Dual::cluster_ip(10, IPERF).seen_by(family);
            let send = |transport, bytes| {
                // A server that has served closes its port, and opens it again some time later.
                let _server = iperf3::serve(&programs, &pod, pod.dual(IPERF).seen_by(family))?;
                iperf3::send(&programs, transport, address, bytes)
            };
            let received = send(Transport::Tcp, 8 << 20)?;
            assert!(received > 7 << 20, "{address}: {received} bytes over TCP");
            // Each run fails unless a datagram went each way; what the server had not read when it
            // was told of the end is left out, which says nothing.
            eventually("most bytes over UDP", || Ok(send(Transport::Udp, 100_000)? > 50_000))?;
        }
        Ok(())
    });
}

#[test]
fn a_server_that_does_not_start_says_why() {
    lab::isolated_with(&[Program("dnsmasq")], |lab| {
        let programs = programs(lab);
        let pod = lab.pod(1)?;
        let open = [(Transport::Tcp, pod.socket(DNS).into())];
        let misused = programs.program("dnsmasq")?.inside(&pod).arg("--nonsense").start(&open);
        let error = format!("{:#}", misused.unwrap_err());
        assert!(error.contains("bad command line options"), "{error}");
        let _first = dns::serve(&programs, &pod, DNS, "first", NOWHERE)?;
        let second = dns::serve(&programs, &pod, DNS, "second", NOWHERE);
        let error = format!("{:#}", second.unwrap_err());
        assert!(error.contains("already in use"), "{error}");
        Ok(())
    });
}
