//! Connections to the API server, which no agent's programs send anywhere else: tables may lead to
//! where the server was when they were published last, and only the server can say better.
//!
//! A socket must never connect before it is marked.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, select_ok};
use http::Uri;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use kube::{Client, Config, client::ConfigExt as _};
use lb_common::AGENT_PRIORITY;
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::sleep,
};
use tower::{BoxError, Service, ServiceBuilder};

/// After what time the next address of the server's name is tried beside the ones before.
const STAGGER: Duration = Duration::from_millis(300);

/// A client that connects so, and otherwise is what `kube` makes of a configuration.
///
/// # Errors
/// When its certificates, keys or tokens are none.
pub(super) fn client(config: Config) -> kube::Result<Client> {
    let mut connector =
        TimeoutConnector::new(config.rustls_https_connector_with_connector(Marked)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// Makes connections to the host and port of a URI.
#[derive(Clone)]
struct Marked;

impl Service<Uri> for Marked {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        async move { connect(&uri).await.map(TokioIo::new) }.boxed()
    }
}

/// To the address that takes the connection first.
async fn connect(uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    let addresses = lookup_host((host, port)).await?;
    let attempts = (0..).zip(addresses).map(|(turn, address)| {
        async move {
            sleep(STAGGER * turn).await;
            connect_to(address).await
        }
        .boxed()
    });
    let attempts: Vec<_> = attempts.collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
    }
    select_ok(attempts).await.map(|(stream, _)| stream)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Err(error) = SockRef::from(&socket).set_priority(AGENT_PRIORITY) {
        // An agent that may not do this may attach no programs either: another's are in force at most.
        tracing::debug!(%error, "cannot set SO_PRIORITY: CAP_NET_ADMIN or CAP_NET_RAW is needed");
    }
    socket.connect(address).await
}
