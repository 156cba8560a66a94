//! Connects, timed, and learns who answered.
//!
//! It must never leave a port in TIME_WAIT: every connection is reset in the end, so that millions
//! can be made one after another.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

/// Long beyond any connect that works in one kernel, and beyond some lost SYNs.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// An established connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What `connect()` alone took.
    pub took: Duration,
}

/// Connects to `to`. Neither this nor a later read takes longer than `timeout`.
///
/// # Errors
/// Those of `connect()`; `TimedOut` when the timeout has passed.
pub fn connect(to: impl Into<SocketAddr>, timeout: Duration) -> io::Result<Connection> {
    let to = to.into();
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    // A blocking connect heeds the timeout of writing; it costs no further system call.
    socket.set_write_timeout(Some(timeout))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_linger(Some(Duration::ZERO))?;
    let to = to.into();
    let start = Instant::now();
    let result = socket.connect(&to);
    let took = start.elapsed();
    match result {
        Ok(()) => Ok(Connection { stream: socket.into(), took }),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}

impl Connection {
    /// The identity of the listener that accepted this connection, as it says itself.
    ///
    /// # Errors
    /// When it hangs up or stays silent.
    pub fn identity(mut self) -> io::Result<u16> {
        let mut greeting = [0; 2];
        self.stream.read_exact(&mut greeting).map_err(|error| {
            io::Error::new(error.kind(), format!("connected, but nobody answered: {error}"))
        })?;
        Ok(u16::from_be_bytes(greeting))
    }
}

/// Whether a Service without backends refused a connect. Before kernel 5.18 a cgroup program
/// cannot choose the error, and EPERM says so.
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied)
}
