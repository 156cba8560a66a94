//! Servers that tell every client which of them it reached: TCP listeners, which then hang up or
//! echo, and UDP sockets, which answer each datagram from the address that it was sent to.
//!
//! One thread serves all of a Pod's. It must never wait for a client: a greeting always fits the
//! socket's buffer, a datagram that does not is lost, and so is a connection whose client does not
//! read.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, epoll, eventfd};
use socket2::{Domain, Socket, Type};

/// Connections that may wait in a listener's queue.
const BACKLOG: u16 = 16_384;
/// Connections or datagrams that a socket serves before the others have their turn.
const BATCH: usize = 64;
/// The longest payload of a datagram over IPv4 (IPv6 has a header less to count).
const LONGEST: usize = 65_527;
/// What epoll returns for the descriptor that stops the thread.
const STOP: u64 = u64::MAX;

/// What a server does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// Tells a TCP connection who it is, and hangs up.
    Greet,
    /// Tells a TCP connection who it is, and sends back what it receives.
    Echo,
    /// Sends each datagram back, behind who it is.
    Answer,
}

/// One port, on one or more addresses.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) identity: u16,
}

/// Serves until dropped.
#[derive(Debug)]
pub struct Server {
    counts: Arc<[AtomicU64]>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `ports` in the calling thread's network namespace.
    pub(crate) fn start(service: Service, ports: &[Port]) -> Result<Self> {
        // Of this namespace alone.
        fs::write("/proc/sys/net/core/somaxconn", BACKLOG.to_string())
            .context("cannot raise net.core.somaxconn")?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&poll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let mut ends = Vec::new();
        for (count, port) in ports.iter().enumerate() {
            for &address in &port.addresses {
                let socket = Bound::new(service, address)
                    .with_context(|| format!("cannot serve {address}"))?;
                let data = epoll::EventData::new_u64(ends.len() as u64);
                epoll::add(&poll, &socket, data, epoll::EventFlags::IN)?;
                ends.push(End { socket, greeting: port.identity.to_be_bytes(), count });
            }
        }
        let counts: Arc<[_]> = ports.iter().map(|_| AtomicU64::new(0)).collect();
        let counted = Arc::clone(&counts);
        let thread = thread::Builder::new()
            .name("server".into())
            .spawn(move || serve(&poll, &ends, &counted))
            .context("cannot start a thread")?;
        Ok(Self { counts, stop, thread: Some(thread) })
    }

    /// Tells each TCP connection to this address of the calling thread's namespace who it is, and sends
    /// back what it receives. It stays when the address goes.
    ///
    /// # Errors
    /// When the address is taken, or not there.
    pub fn echo(address: SocketAddr, identity: u16) -> Result<Self> {
        Self::start(Service::Echo, &[Port { addresses: vec![address], identity }])
    }

    /// Sends each datagram that comes to this address of the calling thread's namespace back, behind
    /// who it is. It stays when the address goes.
    ///
    /// # Errors
    /// When the address is taken, or not there.
    pub fn answer(address: SocketAddr, identity: u16) -> Result<Self> {
        Self::start(Service::Answer, &[Port { addresses: vec![address], identity }])
    }

    /// Connections that each port has accepted, or datagrams that each has taken, in the order in
    /// which they were given. Both families count together.
    pub fn accepted(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let ended = rustix::io::write(&self.stop, &1u64.to_ne_bytes())
            .map_err(io::Error::from)
            .map(|_| thread.join());
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(panic)) if !thread::panicking() => panic::resume_unwind(panic),
            other => eprintln!("a server did not stop in order: {other:?}"),
        }
    }
}

/// A socket that is served.
#[derive(Debug)]
struct End {
    socket: Bound,
    greeting: [u8; 2],
    /// Which of the counts is this port's.
    count: usize,
}

#[derive(Debug)]
enum Bound {
    Greet(TcpListener),
    Echo(TcpListener),
    Answer(UdpSocket),
}

impl Bound {
    /// Bound to this very address, which answers then come from.
    fn new(service: Service, address: SocketAddr) -> io::Result<Self> {
        let kind = match service {
            Service::Greet | Service::Echo => Type::STREAM,
            Service::Answer => Type::DGRAM,
        };
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        if kind == Type::STREAM {
            socket.listen(BACKLOG.into())?;
        }
        Ok(match service {
            Service::Greet => Self::Greet(socket.into()),
            Service::Echo => Self::Echo(socket.into()),
            Service::Answer => Self::Answer(socket.into()),
        })
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Greet(listener) | Self::Echo(listener) => listener.as_fd(),
            Self::Answer(socket) => socket.as_fd(),
        }
    }
}

fn serve(poll: &OwnedFd, ends: &[End], counts: &[AtomicU64]) {
    let mut events = [MaybeUninit::uninit(); 64];
    let mut buffer = vec![0; 2 + LONGEST];
    let mut echoes = Echoes { poll, next: ends.len() as u64, open: HashMap::new() };
    loop {
        let ready = match epoll::wait(poll, &mut events, None) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => panic!("a server cannot wait for clients: {error}"),
        };
        for event in ready {
            let index = event.data.u64();
            if index == STOP {
                return;
            }
            let Some(end) = ends.get(index as usize) else {
                echoes.echo(index, &mut buffer);
                continue;
            };
            let count = &counts[end.count];
            match &end.socket {
                Bound::Greet(listener) => accept(listener, end.greeting, count, drop),
                Bound::Echo(listener) => {
                    accept(listener, end.greeting, count, |stream| echoes.add(stream));
                }
                Bound::Answer(socket) => answer(socket, end.greeting, count, &mut buffer),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    greeting: [u8; 2],
    count: &AtomicU64,
    mut then: impl FnMut(TcpStream),
) {
    for _ in 0..BATCH {
        match listener.accept() {
            Ok((mut stream, _)) => {
                count.fetch_add(1, Ordering::Relaxed);
                // The client may have given up already.
                let _ = stream.write_all(&greeting);
                then(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => panic!("a server cannot accept: {error}; see `ulimit -n`"),
        }
    }
}

fn answer(socket: &UdpSocket, greeting: [u8; 2], count: &AtomicU64, datagram: &mut [u8]) {
    let start = greeting.len();
    datagram[..start].copy_from_slice(&greeting);
    for _ in 0..BATCH {
        match socket.recv_from(&mut datagram[start..]) {
            Ok((length, client)) => {
                count.fetch_add(1, Ordering::Relaxed);
                // The client may be gone already, or the answer be too long for a datagram.
                let _ = socket.send_to(&datagram[..start + length], client);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("a server cannot receive: {error}"),
        }
    }
}

/// Connections whose data is sent back, by what epoll returns for them.
struct Echoes<'a> {
    poll: &'a OwnedFd,
    next: u64,
    open: HashMap<u64, TcpStream>,
}

impl Echoes<'_> {
    fn add(&mut self, stream: TcpStream) {
        let data = epoll::EventData::new_u64(self.next);
        stream
            .set_nonblocking(true)
            .and_then(|()| Ok(epoll::add(self.poll, &stream, data, epoll::EventFlags::IN)?))
            .expect("an accepted connection can be waited for");
        self.open.insert(self.next, stream);
        self.next += 1;
    }

    fn echo(&mut self, index: u64, buffer: &mut [u8]) {
        let Some(stream) = self.open.get_mut(&index) else { return };
        match stream.read(buffer) {
            Ok(length @ 1..) if stream.write_all(&buffer[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Closing it also takes it out of the poll.
            Ok(_) | Err(_) => drop(self.open.remove(&index)),
        }
    }
}
