//! Programs that nobody here wrote, against servers that nobody here wrote: curl and nginx, dig, the
//! C library's resolver and dnsmasq, nginx as a client that looks names up, iperf3.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lab::{
    Lab,
    family::Family,
    programs::{Programs, Transport, curl, dns, iperf3, nginx},
    requirement::Need::Program,
};

/// What DNS servers tell as the address of a web server, where nobody goes there.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOWHERE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const HTTP: u16 = 8080;
const DNS: u16 = 53;
const IPERF: u16 = 5201;
/// How long a program may take to notice that its server is another.
const PATIENCE: Duration = Duration::from_secs(40);

fn programs(lab: &Lab) -> Programs<'_> {
    Programs::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

/// Those that a program can be told on its command line.
fn families(lab: &Lab) -> Result<impl Iterator<Item = Family>> {
    Ok(lab.families()?.iter().copied().filter(|&family| family != Family::Mapped))
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
        for family in families(lab)? {
            for (pod, identity) in pods.iter().zip(["pod 1", "pod 2"]) {
                let url = format!("http://{}/", pod.dual(HTTP).seen_by(family));
                assert_eq!(curl::get(&programs, &url)?, identity, "{url}");
            }
        }
        Ok(())
    });
}

#[test]
fn dig_asks_dnsmasq_over_udp_and_tcp() {
    lab::isolated_with(&[Program("dig"), Program("dnsmasq")], |lab| {
        let programs = programs(lab);
        let pods = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [
            dns::serve(&programs, &pods[0], DNS, "pod 1", NOWHERE)?,
            dns::serve(&programs, &pods[1], DNS, "pod 2", NOWHERE)?,
        ];
        for family in families(lab)? {
            for (pod, identity) in pods.iter().zip(["pod 1", "pod 2"]) {
                for transport in [Transport::Udp, Transport::Tcp] {
                    let server = pod.dual(DNS).seen_by(family);
                    assert_eq!(dns::dig(&programs, transport, server)?, identity, "{server}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn the_c_librarys_resolver_asks_the_server_in_resolv_conf() {
    lab::isolated_with(&[Program("getent"), Program("dnsmasq")], |lab| {
        let programs = programs(lab);
        let pods = [lab.pod(1)?, lab.pod(2)?];
        let _servers = [
            dns::serve(&programs, &pods[0], DNS, "pod 1", NOWHERE)?,
            dns::serve(&programs, &pods[1], DNS, "pod 2", NOWHERE6)?,
        ];
        for family in families(lab)? {
            for (pod, address) in pods.iter().zip([NOWHERE, NOWHERE6]) {
                let server = pod.dual(DNS).seen_by(family).ip();
                assert_eq!(dns::look_up(&programs, server, dns::WEB)?, [address], "{server}");
            }
        }
        Ok(())
    });
}

#[test]
fn nginx_follows_a_name_when_its_dns_server_is_replaced() {
    lab::isolated_with(&["curl", "nginx", "dnsmasq"].map(Program), |lab| {
        let programs = programs(lab);
        let [web1, web2, dns] = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let _servers = [
            nginx::serve(&programs, &web1, HTTP, "web 1")?,
            nginx::serve(&programs, &web2, HTTP, "web 2")?,
        ];
        let before = dns::serve(&programs, &dns, DNS, "before", web1.address().into())?;
        let listen: SocketAddr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, HTTP).into();
        let _proxy = nginx::forward(&programs, listen, dns.socket(DNS).into(), HTTP)?;
        let url = format!("http://{listen}/");
        assert_eq!(curl::get(&programs, &url)?, "web 1");
        before.stop()?;
        let _after = dns::serve(&programs, &dns, DNS, "after", web2.address().into())?;
        let start = Instant::now();
        while curl::get(&programs, &url)? != "web 2" {
            ensure!(start.elapsed() < PATIENCE, "still the old address after {PATIENCE:?}");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    });
}

#[test]
fn iperf3_sends_over_tcp_and_udp() {
    lab::isolated_with(&[Program("iperf3")], |lab| {
        let programs = programs(lab);
        let pod = lab.pod(1)?;
        for family in families(lab)? {
            let address = pod.dual(IPERF).seen_by(family);
            let _server = iperf3::serve(&programs, &pod, address)?;
            for (transport, bytes) in [(Transport::Tcp, 1 << 20), (Transport::Udp, 100_000)] {
                let received = iperf3::send(&programs, transport, address, bytes)?;
                assert!((1..=bytes).contains(&received), "{address}: {received} of {bytes}");
            }
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
