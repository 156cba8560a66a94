//! A connection that can be made to fall silent, to end, and to end in the middle of what it says.
//!
//! It lies below TLS and HTTP, which know nothing of it: to the client it looks as if a peer or the
//! network had failed. A connection that has ended must never be revived.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By FIN.
    Orderly,
    /// By RST.
    Reset,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Silent,
    /// Ends when so many more octets are written.
    Cut(usize, Ending),
    Ended(Ending),
}

/// What is to become of a connection.
#[derive(Debug)]
pub(super) struct Control {
    state: Mutex<State>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Control {
    pub(super) fn new() -> Arc<Self> {
        let state = Mutex::new(State::Open);
        Arc::new(Self { state, reader: AtomicWaker::new(), writer: AtomicWaker::new() })
    }

    /// From now on nothing is read or written, and the connection stays.
    pub(super) fn silence(&self) {
        self.set(State::Silent);
    }

    pub(super) fn end(&self, ending: Ending) {
        self.set(State::Ended(ending));
    }

    /// Ends the connection when so many more octets are written.
    pub(super) fn cut_after(&self, octets: usize, ending: Ending) {
        self.set(State::Cut(octets, ending));
    }

    fn set(&self, state: State) {
        let mut current = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*current, State::Ended(_)) {
            *current = state;
        }
        drop(current);
        self.reader.wake();
        self.writer.wake();
    }

    fn get(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's side of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    control: Arc<Control>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, control: Arc<Control>) -> Self {
        Self { stream, control }
    }

    fn ended(&self, ending: Ending) -> io::Error {
        if ending == Ending::Reset {
            // The socket is closed next, for which this makes RST of FIN. If it fails, the
            // connection has ended already.
            let _ = self.stream.set_zero_linger();
        }
        io::ErrorKind::ConnectionAborted.into()
    }

    /// How much may be written; pending while it is silent.
    fn room(&self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        self.control.writer.register(context.waker());
        match self.control.get() {
            State::Open => Poll::Ready(Ok(usize::MAX)),
            State::Silent => Poll::Pending,
            State::Cut(left, _) => Poll::Ready(Ok(left)),
            State::Ended(ending) => Poll::Ready(Err(self.ended(ending))),
        }
    }

    fn wrote(&self, octets: usize) {
        if let State::Cut(left, ending) = self.control.get() {
            match left - octets {
                0 => self.control.end(ending),
                left => self.control.cut_after(left, ending),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.control.reader.register(context.waker());
        match self.control.get() {
            State::Open | State::Cut(..) => Pin::new(&mut self.stream).poll_read(context, buffer),
            State::Silent => Poll::Pending,
            State::Ended(ending) => Poll::Ready(Err(self.ended(ending))),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.room(context))?.min(octets.len());
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, &octets[..room]))?;
        self.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.room(context))?;
        if room < usize::MAX {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.room(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.room(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
