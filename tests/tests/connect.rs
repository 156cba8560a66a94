//! `connect()` over TCP and IPv4, on the real kernel: where it goes, and what is left alone.
//! Numbers in names are those of docs/semantics.md.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::Result;
use lab::{
    Lab, churn,
    client::{TIMEOUT, connect},
    plane::Plane,
    port::Port,
};
use lb_common::Counter;
use lb_userspace::publish::Sizes;

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
const PORT: u16 = 8080;

fn web() -> Port {
    Port::tcp("lab/web:http").at([VIP])
}

fn plane(lab: &Lab) -> Result<Plane> {
    let mut plane = Plane::new(Sizes::new(64, 1024))?;
    plane.attach(lab.cgroup())?;
    Ok(plane)
}

#[test]
fn point_14_every_backend_has_the_same_chance() {
    const CONNECTS: u32 = 10_000;
    lab::isolated(|lab| {
        let pods = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let servers: Vec<_> =
            (0..).zip(&pods).map(|(id, pod)| pod.serve([(PORT, id)])).collect::<Result<_>>()?;
        let mut plane = plane(lab)?;
        plane.publish(&web().to(pods.each_ref().map(|pod| pod.socket(PORT))))?;
        let mut counts = [0u32; 3];
        for _ in 0..CONNECTS {
            counts[usize::from(connect(VIP, TIMEOUT)?.identity()?)] += 1;
        }
        // A binomial distribution's standard deviation: √(n·p·(1-p)), here 47.
        let (n, p) = (f64::from(CONNECTS), 1.0 / 3.0);
        let deviation = (n * p * (1.0 - p)).sqrt();
        for count in counts {
            let off = (f64::from(count) - n * p).abs() / deviation;
            assert!(off < 5.0, "{counts:?}: {off:.1} standard deviations off");
        }
        let accepted: u64 = servers.iter().flat_map(lab::server::Server::accepted).sum();
        assert_eq!(accepted, u64::from(CONNECTS));
        assert_eq!(plane.count(Counter::Translated)?, u64::from(CONNECTS));
        Ok(())
    });
}

#[test]
fn point_25_what_is_no_frontend_is_untouched() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let _server = pod.serve([(PORT, 1), (VIP.port(), 2)])?;
        let mut plane = plane(lab)?;
        plane.publish(&web().to([pod.socket(PORT)]))?;
        // Straight to the Pod, also on the Service's port.
        assert_eq!(connect(pod.socket(PORT), TIMEOUT)?.identity()?, 1);
        assert_eq!(connect(pod.socket(VIP.port()), TIMEOUT)?.identity()?, 2);
        // Another port, another address: no route, as without socklb.
        for address in
            [SocketAddrV4::new(*VIP.ip(), 81), SocketAddrV4::new([10, 96, 0, 11].into(), 80)]
        {
            let error = connect(address, TIMEOUT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{address}");
        }
        assert_eq!(plane.count(Counter::Translated)?, 0);
        Ok(())
    });
}

#[test]
fn point_4_a_tcp_port_does_not_answer_udp() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let mut plane = plane(lab)?;
        plane.publish(&web().to([pod.socket(PORT)]))?;
        let error = UdpSocket::bind("0.0.0.0:0")?.connect(VIP).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        Ok(())
    });
}

#[test]
fn point_19_without_a_backend_connect_is_refused_at_once() {
    lab::isolated(|lab| {
        let mut plane = plane(lab)?;
        plane.publish(&web())?;
        let error = connect(VIP, TIMEOUT).unwrap_err();
        let expected = if plane.object.refuses_with_errno {
            ErrorKind::ConnectionRefused
        } else {
            ErrorKind::PermissionDenied
        };
        assert_eq!(error.kind(), expected);
        assert_eq!(plane.count(Counter::NoBackend)?, 1);
        Ok(())
    });
}

#[test]
fn point_23_an_established_connection_survives_the_removal_of_its_service() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let _server = pod.serve([(PORT, 7)])?;
        let mut plane = plane(lab)?;
        plane.publish(&web().to([pod.socket(PORT)]))?;
        let connection = connect(VIP, TIMEOUT)?;
        plane.withdraw(&web())?;
        assert_eq!(connection.identity()?, 7);
        let error = connect(VIP, TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        Ok(())
    });
}

#[test]
fn point_24_a_pod_may_be_sent_to_itself() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let _server = pod.serve([(PORT, 7)])?;
        let mut plane = plane(lab)?;
        plane.publish(&web().to([pod.socket(PORT)]))?;
        assert_eq!(pod.namespace().run(|| connect(VIP, TIMEOUT))?.identity()?, 7);
        Ok(())
    });
}

#[test]
fn no_connect_fails_or_goes_astray_while_backends_change() {
    lab::isolated(|lab| {
        // So small that blocks are reused after every grace period, and publishing waits for them.
        let report = churn::run(lab, Duration::from_secs(5), 128, |_| ())?;
        eprintln!("{report:?}");
        assert_eq!((report.failures, report.wrong_backends), (0, 0));
        assert!(report.connects > 1_000 && report.publishes > 100, "too few to tell anything");
        assert!(report.grace_periods > 10, "nothing was reused");
        assert!(report.guests > 0, "no Service came or went");
        Ok(())
    });
}

#[test]
fn dropping_the_plane_leaves_connects_alone() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let _server = pod.serve([(PORT, 1)])?;
        let mut plane = plane(lab)?;
        plane.publish(&web().to([pod.socket(PORT)]))?;
        assert_eq!(connect(VIP, TIMEOUT)?.identity()?, 1);
        drop(plane);
        let error = connect(VIP, TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        Ok(())
    });
}
