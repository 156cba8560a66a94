//! TCP listeners that tell every connection which of them it reached, and hang up.
//!
//! One thread serves all listeners of a Pod. It must never wait for a client: what it writes
//! always fits the socket's buffer.

use std::{
    fs,
    io::{self, Write},
    mem::MaybeUninit,
    net::{SocketAddrV4, TcpListener},
    os::fd::OwnedFd,
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
/// Connections that a listener accepts before the others have their turn.
const BATCH: usize = 64;
/// What epoll returns for the descriptor that stops the thread.
const STOP: u64 = u64::MAX;

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    greeting: [u8; 2],
    accepted: AtomicU64,
}

/// Listens until dropped.
#[derive(Debug)]
pub struct Server {
    listeners: Arc<[Listener]>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `addresses` in the calling thread's network namespace. A connection receives
    /// the identity beside the address, two bytes in network order.
    pub(crate) fn start(addresses: &[(SocketAddrV4, u16)]) -> Result<Self> {
        // Of this namespace alone.
        fs::write("/proc/sys/net/core/somaxconn", BACKLOG.to_string())
            .context("cannot raise net.core.somaxconn")?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&poll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let listeners = addresses
            .iter()
            .map(|&(address, identity)| {
                listen(address, identity).with_context(|| format!("cannot listen on {address}"))
            })
            .collect::<Result<Arc<[_]>>>()?;
        for (index, listener) in (0..).zip(listeners.iter()) {
            let data = epoll::EventData::new_u64(index);
            epoll::add(&poll, &listener.socket, data, epoll::EventFlags::IN)?;
        }
        let served = Arc::clone(&listeners);
        let thread = thread::Builder::new()
            .name("server".into())
            .spawn(move || serve(&poll, &served))
            .context("cannot start a thread")?;
        Ok(Self { listeners, stop, thread: Some(thread) })
    }

    /// Connections that each listener has accepted, in the order in which they were given.
    pub fn accepted(&self) -> Vec<u64> {
        self.listeners.iter().map(|listener| listener.accepted.load(Ordering::Relaxed)).collect()
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

fn listen(address: SocketAddrV4, identity: u16) -> io::Result<Listener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    socket.set_nonblocking(true)?;
    Ok(Listener {
        socket: socket.into(),
        greeting: identity.to_be_bytes(),
        accepted: AtomicU64::new(0),
    })
}

fn serve(poll: &OwnedFd, listeners: &[Listener]) {
    let mut events = [MaybeUninit::uninit(); 64];
    loop {
        let ready = match epoll::wait(poll, &mut events, None) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => panic!("a server cannot wait for connections: {error}"),
        };
        for event in ready {
            let index = event.data.u64();
            if index == STOP {
                return;
            }
            greet(&listeners[index as usize]);
        }
    }
}

fn greet(listener: &Listener) {
    for _ in 0..BATCH {
        match listener.socket.accept() {
            Ok((mut stream, _)) => {
                listener.accepted.fetch_add(1, Ordering::Relaxed);
                // The client may have given up already.
                let _ = stream.write_all(&listener.greeting);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => panic!("a server cannot accept: {error}; see `ulimit -n`"),
        }
    }
}
