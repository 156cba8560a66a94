//! Stale sockets: origins made up for sockets of a test's own, and a closer whose reports are heard.
//!
//! A closer looks into all namespaces of the machine, so an origin given here must never name a
//! socket that is not the experiment's.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lb_common::layout::{ORIGIN_VERSION, Octets, Origin};
use lb_userspace::{
    close::{Closer, Gone, LOOKS, Report, Request},
    netns::current_cookie,
};
use rustix::net::RecvFlags;
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    family::{Dual, Family},
    manifest::Service,
    pod::Pod,
    socket::{self as lab_socket, Errno},
    stage::{PATIENCE, Stage, eventually},
};

/// A Service that no test uses for anything else.
const FENCE: Dual = Dual::cluster_ip(13, 99);

/// IANA's number of TCP.
pub const TCP: u8 = 6;
/// IANA's number of UDP.
pub const UDP: u8 = 17;
/// The service port's id in every origin.
pub const SERVICE: u32 = 3;
/// 127.0.0.1.
pub const LOCAL4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// ::1.
pub const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// No pass may take longer.
pub const LIMIT: Duration = Duration::from_secs(20);

/// An IPv4 address as the IPv4-mapped one, which AF_INET6 sockets connect to.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// A UDP socket of `domain`, connected to `peer`.
///
/// # Errors
/// When it cannot be made or connected.
pub fn udp(domain: Domain, peer: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.connect(&peer.into())?;
    Ok(socket.into())
}

/// The origin of a socket of the calling thread's namespace, as if it had been sent to `backend`.
///
/// # Errors
/// When the kernel does not tell its cookies.
pub fn origin(socket: &SockRef<'_>, protocol: u8, backend: SocketAddr) -> Result<Origin> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => Octets::v4(address.octets()),
        IpAddr::V6(address) => Octets::v6(address.octets()),
    };
    Ok(Origin {
        version: ORIGIN_VERSION,
        protocol,
        reserved: 0,
        frontend_port: 53,
        backend_port: backend.port(),
        frontend: octets(Ipv4Addr::new(10, 96, 0, 10).into()),
        backend: octets(backend.ip()),
        service: SERVICE,
        backend_id: 900,
        socket: socket.cookie()?,
        // Before Linux 5.14 only programs know it, and the agent does without.
        netns: current_cookie()?.unwrap_or(0),
        spare: [0; 2],
    })
}

/// Asks for what is connected to this backend.
pub fn gone(backend: SocketAddr) -> Request {
    Request::Gone(vec![Gone { service: SERVICE, backend, before: u32::MAX }])
}

/// A closer, and what it reports.
pub struct Running {
    /// To ask without waiting for the answer.
    pub closer: Closer,
    reports: Receiver<Report>,
}

impl Running {
    /// Reads origins as told.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(origins: impl Fn() -> io::Result<Vec<Origin>> + Send + 'static) -> Result<Self> {
        let (tell, reports) = mpsc::channel();
        let told = move |report: &Report| {
            // The errors go no further than this.
            assert!(report.errors.is_empty(), "{:?}", report.errors);
            tell.send(Report { errors: Vec::new(), ..*report }).unwrap();
        };
        Ok(Self { closer: Closer::start(origins, told)?, reports })
    }

    /// Always reads these origins.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn with(origins: Vec<Origin>) -> Result<Self> {
        Self::new(move || Ok(origins.clone()))
    }

    /// Waits for the next report.
    ///
    /// # Errors
    /// When none comes.
    pub fn report(&self) -> Result<Report> {
        self.reports.recv_timeout(LIMIT).context("the closer does not report")
    }

    /// Asks, and waits until nothing is left to be looked at again. Returns the sum.
    ///
    /// # Errors
    /// When that does not end.
    pub fn ask(&self, request: Request) -> Result<Report> {
        self.closer.request(request);
        let mut sum = Report::default();
        for _ in 0..LOOKS {
            let report = self.report()?;
            sum.udp += report.udp;
            sum.tcp += report.tcp;
            sum.missed += report.missed;
            if report.again == 0 {
                return Ok(sum);
            }
        }
        bail!("sockets are looked at too often")
    }
}

/// Fails unless the socket was closed under its owner: the next call says so, once.
///
/// # Errors
/// When it was not.
pub fn expect_closed(socket: &UdpSocket, what: &str) -> Result<()> {
    let error = receive(socket, what)?;
    ensure!(error.kind() == ErrorKind::ConnectionAborted, "{what} is not closed: {error}");
    ensure!(socket.peer_addr().is_err(), "{what} still has a peer");
    Ok(())
}

/// Fails unless the socket is as it was: connected, and without an error.
///
/// # Errors
/// When it is not.
pub fn expect_open(socket: &UdpSocket, what: &str) -> Result<()> {
    let error = receive(socket, what)?;
    ensure!(error.kind() == ErrorKind::WouldBlock, "{what} does not wait for datagrams: {error}");
    ensure!(socket.peer_addr().is_ok(), "{what} has lost its peer");
    Ok(())
}

/// Waits until an agent has closed the socket under its owner: the next call says so, once. The
/// kernel takes its peer away only after that (`udp_abort()` in net/ipv4/udp.c).
///
/// # Errors
/// When it does not.
pub fn wait_until_closed(socket: &lab_socket::Socket, what: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        match socket.receive() {
            Err(Errno::CONNABORTED) => break,
            Err(Errno::AGAIN) if start.elapsed() < PATIENCE => {}
            other => bail!("{what} is not closed: {other:?}"),
        }
    }
    eventually(&format!("{what} has no peer"), || Ok(socket.peer().is_err()))
}

/// Fails unless the socket is connected, and has neither an error nor anything to be received.
///
/// # Errors
/// When it is not.
pub fn expect_unharmed(socket: &lab_socket::Socket, what: &str) -> Result<()> {
    let received = rustix::net::recv(socket, &mut [0; 8], RecvFlags::DONTWAIT);
    ensure!(matches!(received, Err(Errno::AGAIN)), "{what} does not wait: {received:?}");
    ensure!(socket.peer().is_ok(), "{what} has lost its peer");
    Ok(())
}

/// Fails unless what is sent to a server that echoes comes back.
///
/// # Errors
/// When it does not.
pub fn expect_echo(tcp: &lab_socket::Socket, what: &str) -> Result<()> {
    let mut echo = [0; 10];
    tcp.send(b"still here").and_then(|()| tcp.receive_whole(&mut echo)).context(what.to_owned())?;
    ensure!(&echo == b"still here", "{what}: {echo:?}");
    Ok(())
}

/// Returns when everything is closed that was to be closed because of manifests written before: the
/// agent reads and closes in order. The first fence may go in the same pass, the second comes after.
///
/// # Errors
/// When the agent does not close what it has to, on the way to this Pod.
pub fn settle(stage: &Stage<'_>, pod: &Pod) -> Result<()> {
    let fence = Service::udp("fence", FENCE);
    for _ in 0..2 {
        stage.apply(&fence.clone().to([pod.dual(99)]))?;
        let socket = lab_socket::Socket::udp(Family::V4)?;
        eventually("the fence", || Ok(socket.connect(FENCE.v4).is_ok()))?;
        stage.apply(&fence)?;
        wait_until_closed(&socket, "the fence")?;
    }
    Ok(())
}

fn receive(socket: &UdpSocket, what: &str) -> Result<io::Error> {
    socket.set_nonblocking(true)?;
    match socket.recv(&mut [0; 8]) {
        Ok(_) => bail!("{what} has received something"),
        Err(error) => Ok(error),
    }
}
