//! The thread that a double serves on: it accepts connections, and does what it is told.
//!
//! The listener can be closed and opened again at the same port, any number of times. A connection
//! that fails must never end the thread, nor another connection.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, mpsc::SyncSender},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::mpsc::UnboundedReceiver,
};
use tokio_rustls::TlsAcceptor;

use super::{
    answer::answer,
    shared::Shared,
    wire::{Control, Wire},
};

/// What the thread is told; it answers when that is done.
pub(super) enum Command {
    Close(SyncSender<io::Result<()>>),
    Open(SyncSender<io::Result<()>>),
}

/// Starts the thread. It ends, with all its connections, when the other end of `commands` is dropped.
pub(super) fn start(
    shared: Arc<Shared>,
    listener: StdListener,
    commands: UnboundedReceiver<Command>,
) -> Result<JoinHandle<()>> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    thread::Builder::new()
        .name("apiserver".into())
        .spawn(move || {
            runtime.block_on(run(shared, listener, address, commands));
        })
        .context("cannot start a thread")
}

async fn run(
    shared: Arc<Shared>,
    listener: StdListener,
    address: SocketAddr,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut listener = TcpListener::from_std(listener).ok();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Close(done)) => {
                    listener = None;
                    let _ = done.send(Ok(()));
                }
                Some(Command::Open(done)) => {
                    let outcome = match listener {
                        Some(_) => Ok(()),
                        None => TcpListener::bind(address).await.map(|it| listener = Some(it)),
                    };
                    let _ = done.send(outcome);
                }
                None => return,
            },
            stream = accept(listener.as_ref()) => {
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        // What fails here is a connection that has ended already.
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

/// Serves one connection until it ends.
async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let control = Control::new();
    let _connected = shared.connect(&control);
    // Events are small, and are to be seen at once. If it fails, the connection has ended.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, Arc::clone(&control));
    let config = shared.identity().as_ref().map(|identity| Arc::clone(&identity.config));
    match config {
        None => exchange(&shared, &control, wire).await,
        Some(config) => {
            // Who does not trust the server ends the handshake.
            if let Ok(stream) = TlsAcceptor::from(config).accept(wire).await {
                exchange(&shared, &control, stream).await;
            }
        }
    }
}

async fn exchange<S>(shared: &Arc<Shared>, control: &Arc<Control>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(Arc::clone(shared), Arc::clone(control), request));
    // Clients come and go as they like; that they did is no one's error.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
