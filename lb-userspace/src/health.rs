//! `/healthz`, `/readyz` and `/metrics` over HTTP, on a loopback address.
//!
//! Healthy means that the owner answers; ready, that it balances, and it stays so while the API
//! server is gone: the node keeps balancing. This module must never ask anything of a cluster.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use lb_common::Counter;
use tokio::{
    runtime,
    sync::oneshot,
    time::{error::Elapsed, timeout},
};

use crate::{agent::Message, dataplane::Decisions, joined::Joined, metrics::Metrics};

/// The owner answers between two publications, which may wait for a grace period.
const PATIENCE: Duration = Duration::from_secs(5);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is served.
#[derive(Clone)]
pub struct Health {
    owner: Sender<Message>,
    ready: Arc<AtomicBool>,
    metrics: Metrics,
    decisions: Arc<Decisions>,
}

/// Serves until it is dropped, which waits for the thread's end.
#[derive(Debug)]
pub struct Server {
    /// Dropped first, which ends the thread.
    _stop: oneshot::Sender<()>,
    _thread: Joined,
}

impl Health {
    /// Asks whoever receives from `owner`. Not ready yet.
    pub fn new(owner: Sender<Message>, metrics: Metrics, decisions: Decisions) -> Self {
        Self { owner, ready: Arc::default(), metrics, decisions: Arc::new(decisions) }
    }

    /// From now on connections are balanced.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Serves on `address`, on a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be had, or there is no thread.
    pub fn serve(self, address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        let run = move || {
            let served: io::Result<()> = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    served = axum::serve(listener, routes) => served,
                    // The other half is dropped, never used.
                    _ = stopped => Ok(()),
                }
            });
            if let Err(error) = served {
                tracing::error!(%error, "health is not served any more");
            }
        };
        Ok(Server { _stop: stop, _thread: Joined::spawn("health", run)? })
    }

    async fn alive(&self) -> Result<bool, Elapsed> {
        let (answer, answered) = oneshot::channel();
        if self.owner.send(Message::Ping(answer)).is_err() {
            return Ok(false);
        }
        timeout(PATIENCE, answered).await.map(|answered| answered.is_ok())
    }
}

async fn healthz(State(health): State<Health>) -> impl IntoResponse {
    match health.alive().await {
        Ok(true) => (StatusCode::OK, "ok\n"),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer\n"),
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything is listed yet\n")
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    for counter in Counter::ALL {
        match health.decisions.count(counter) {
            Ok(times) => health.metrics.decided(counter, times),
            Err(error) => tracing::error!(%error, "cannot read lb_counters"),
        }
    }
    ([(CONTENT_TYPE, OPEN_METRICS)], health.metrics.text())
}
