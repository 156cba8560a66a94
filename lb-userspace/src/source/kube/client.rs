//! One client for all watches, that outlives what it was made of.
//!
//! Watches hold on to their client, and losing one would mean to list everything again. So behind it
//! is a service that makes the true client, and makes it anew after a request that got no answer or
//! was not let in: with the certificates and tokens that the files hold by then.
//!
//! It must never repeat a request for longer than its caller would wait: watches have their own
//! patience.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt as _};
use http::{Request, Response, StatusCode, Uri, header::RETRY_AFTER};
use kube::{
    Client,
    client::{Body, retry::RetryPolicy},
};
use rustc_hash::FxHashMap;
use tower::{BoxError, Service, ServiceBuilder, retry::RetryLayer};

use super::{Access, AccessError, connect};

/// How often, and how long in between, a request is repeated that the server was too busy for. Its
/// `Retry-After` counts if that is longer, up to a limit.
const RETRIES: u32 = 3;
const RETRY_FROM: Duration = Duration::from_millis(200);
const RETRY_TO: Duration = Duration::from_secs(5);
/// That limit, in seconds.
const LONGEST_RETRY_AFTER: u64 = 30;
/// How far apart two equal requests are at least.
const PACE: Duration = Duration::from_millis(500);

/// A client that is renewed behind its users' backs.
pub(super) fn client(access: Access) -> Client {
    let policy = RetryPolicy::new(RETRY_FROM, RETRY_TO, RETRIES, true)
        .expect("the shorter time is the first");
    let shared = Arc::new(Shared { access, state: Mutex::default() });
    let service = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(Renewing { shared });
    // The namespace of requests that name none, of which there are none.
    Client::new(service, "default")
}

#[derive(Clone)]
struct Renewing {
    shared: Arc<Shared>,
}

struct Shared {
    access: Access,
    state: Mutex<State>,
}

/// The true client, and what was asked of it.
#[derive(Default)]
struct State {
    /// So that of many watches that lose their connections at once only the first asks for a new
    /// client.
    number: u64,
    client: Option<Client>,
    /// For each path what was asked last, and when.
    sent: FxHashMap<Box<str>, (Option<Box<str>>, Instant)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn client(&self) -> Result<(u64, Client), AccessError> {
        {
            let state = self.state();
            if let Some(client) = &state.client {
                return Ok((state.number, client.clone()));
            }
        }
        let config = self.access.config().await?;
        let server = config.cluster_url.to_string();
        let client = connect::client(config)
            .map_err(|source| AccessError::Client { server, source: Box::new(source) })?;
        let mut state = self.state();
        state.number += 1;
        state.client = Some(client.clone());
        Ok((state.number, client))
    }

    /// Forgets the client of this number, if it is still the current one.
    fn discard(&self, number: u64) {
        let mut state = self.state();
        if state.number == number {
            state.client = None;
        }
    }

    /// How long this request has to wait, since the same one was sent just now: a watch that the
    /// server ends at once is asked for again at once.
    fn pace(&self, uri: &Uri) -> Duration {
        let mut state = self.state();
        let now = Instant::now();
        let wait = state.sent.get(uri.path()).map_or(Duration::ZERO, |(query, sent)| {
            let same = query.as_deref() == uri.query();
            if same { PACE.saturating_sub(now.duration_since(*sent)) } else { Duration::ZERO }
        });
        state.sent.insert(uri.path().into(), (uri.query().map(Into::into), now + wait));
        wait
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        tokio::time::sleep(self.pace(request.uri())).await;
        let (number, client) = self.client().await?;
        let mut result = client.send(request).await;
        if let Ok(response) = &mut result {
            bound_retry_after(response);
        }
        let let_in =
            result.as_ref().is_ok_and(|response| response.status() != StatusCode::UNAUTHORIZED);
        if !let_in {
            self.discard(number);
        }
        Ok(result?)
    }
}

/// Leaves the server alone for as long as it asks, within reason.
fn bound_retry_after(response: &mut Response<Body>) {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let Some(seconds) = asked.and_then(|text| text.parse::<u64>().ok()) else { return };
    let status = response.status().as_u16();
    tracing::info!(status, seconds, "the API server asks to be left alone");
    if seconds > LONGEST_RETRY_AFTER {
        response.headers_mut().insert(RETRY_AFTER, LONGEST_RETRY_AFTER.into());
    }
}

impl Service<Request<Body>> for Renewing {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.shared.clone();
        async move { shared.send(request).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_left_alone_for_half_a_minute_at_most() {
        for (asked, kept) in [("1", "1"), ("30", "30"), ("3600", "30"), ("soon", "soon")] {
            let response = Response::builder().header(RETRY_AFTER, asked);
            let mut response = response.body(Body::empty()).unwrap();
            bound_retry_after(&mut response);
            assert_eq!(response.headers()[RETRY_AFTER], kept);
        }
    }
}
