//! Each way in which the double fails, as clients meet it.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use http::Request;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ListParams, config::Kubeconfig, runtime::watcher};
use lab::apiserver::{self, Ending, Fault, Options, Resource, Verb};

use super::{
    refused, service,
    watches::{after_errors, error, next, settled},
    with,
};

fn all() -> ListParams {
    ListParams::default()
}

#[test]
fn a_closed_listener_refuses_and_another_cluster_comes_back() {
    with(Options::default(), async |server, client| {
        let mut told = settled(&server, &client).await?;
        server.close()?;
        server.hang_up(Ending::Reset);
        assert!(TcpStream::connect(server.address()).is_err());
        let later = server.version() + 1000;
        server.reset(later)?;
        server.apply(service("another"))?;
        server.open()?;
        assert_eq!(after_errors(&mut told).await?, "init");
        assert_eq!(next(&mut told, 3).await?, ["(another)", "(kubernetes)", "done"]);
        Ok(())
    });
}

#[test]
fn a_cluster_that_counts_from_earlier_tells_nothing_until_it_has_caught_up() {
    with(Options::default(), async |server, client| {
        let mut told = settled(&server, &client).await?;
        let before = server.version();
        server.close()?;
        server.hang_up(Ending::Orderly);
        server.reset(Options::default().first_version - 10)?;
        server.open()?;
        let caught_up = loop {
            let version = server.version() + 1;
            let stored = server.apply(service(&format!("of-{version}")))?;
            if stored > before {
                break stored;
            }
        };
        assert_eq!(after_errors(&mut told).await?, format!("+of-{caught_up}"));
        assert_eq!(server.count(Verb::List, Resource::Services), 1);
        Ok(())
    });
}

fn a_watch_is_cut_in_the_middle_of_an_event(tls: bool) {
    with(Options { tls, ..Options::default() }, async |server, client| {
        let mut told = settled(&server, &client).await?;
        for (name, ending) in [("second", Ending::Reset), ("third", Ending::Orderly)] {
            let accepted = server.accepted();
            server.cut_watches(Resource::Services, ending);
            server.apply(service(name))?;
            assert_eq!(after_errors(&mut told).await?, format!("+{name}"));
            assert!(server.accepted() > accepted, "the connection has ended");
        }
        assert_eq!(server.count(Verb::List, Resource::Services), 1);
        Ok(())
    });
}

#[test]
fn a_watch_that_is_cut_in_the_middle_of_an_event_is_resumed() {
    a_watch_is_cut_in_the_middle_of_an_event(false);
}

#[test]
fn a_watch_that_is_cut_below_tls_is_resumed() {
    a_watch_is_cut_in_the_middle_of_an_event(true);
}

#[test]
fn garbage_is_no_event_and_no_list() {
    with(Options::default(), async |server, client| {
        let mut told = settled(&server, &client).await?;
        server.garble_watches(Resource::Services);
        let failed = error(&mut told).await?;
        let kube::Error::SerdeError(_) = (match failed {
            watcher::Error::WatchFailed(error) => error,
            other => bail!("{other:?}"),
        }) else {
            bail!("no error of the parser's");
        };
        server.apply(service("second"))?;
        assert_eq!(next(&mut told, 1).await?, ["+second"]);

        server.inject(Fault::garbage().to(Verb::List).on(Resource::Pods));
        let pods: Api<Pod> = Api::all(client.clone());
        assert!(matches!(pods.list(&all()).await, Err(kube::Error::SerdeError(_))));
        let services: Api<Service> = Api::all(client);
        services.list(&all()).await?;
        server.heal();
        pods.list(&all()).await?;
        Ok(())
    });
}

#[test]
fn answers_can_be_refusals() {
    with(Options::default(), async |server, client| {
        let slices: Api<EndpointSlice> = Api::all(client.clone());
        server.inject(Fault::answer(500).times(1));
        refused(slices.list(&all()).await, 500, "InternalError")?;
        server.inject(Fault::answer(403).on(Resource::EndpointSlices).to(Verb::List));
        let status = refused(slices.list(&all()).await, 403, "Forbidden")?;
        let wanted = "endpointslices.discovery.k8s.io is forbidden: User \"lab\" cannot list \
                      resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster \
                      scope";
        assert_eq!(status.message, wanted);
        let services: Api<Service> = Api::all(client.clone());
        services.list(&all()).await?;
        server.heal();
        slices.list(&all()).await?;

        server.inject(Fault::answer(503).times(1));
        refused(slices.list(&all()).await, 503, "ServiceUnavailable")?;
        slices.list(&all()).await?;
        server.inject(Fault::answer(429).retry_after(7).on(Resource::EndpointSlices));
        server.inject(Fault::busy(429, 9).on(Resource::Services));
        let (first, second) = tokio::join!(raw(&client, "slices"), raw(&client, "services"));
        let (after, kind, text) = first?;
        assert_eq!((after.as_str(), kind.as_str()), ("7", "application/json"));
        assert!(text.contains("\"reason\":\"TooManyRequests\""), "{text}");
        let (after, kind, text) = second?;
        assert_eq!((after.as_str(), kind.as_str()), ("9", "text/plain; charset=utf-8"));
        assert_eq!(text, "Too many requests, please try again later.\n");
        Ok(())
    });
}

/// `Retry-After`, the type and the text of an answer of 429.
async fn raw(client: &Client, what: &str) -> Result<(String, String, String)> {
    use http_body_util::BodyExt as _;
    let path = match what {
        "slices" => "/apis/discovery.k8s.io/v1/endpointslices",
        _ => "/api/v1/services",
    };
    let request = Request::get(path).body(kube::client::Body::empty())?;
    let answer = client.send(request).await?;
    assert_eq!(answer.status(), 429);
    let header = |name: &str| -> Result<String> {
        Ok(answer.headers().get(name).context("no header")?.to_str()?.into())
    };
    let (after, kind) = (header("retry-after")?, header("content-type")?);
    let text = answer.into_body().collect().await?.to_bytes();
    Ok((after, kind, String::from_utf8(text.to_vec())?))
}

#[test]
fn an_answer_can_be_late_and_a_server_silent() {
    with(Options::default(), async |server, client| {
        let pods: Api<Pod> = Api::all(client.clone());
        let services: Api<Service> = Api::all(client.clone());
        server.inject(Fault::delay(Duration::from_hours(1)).on(Resource::Services));
        let slow = services.clone();
        tokio::spawn(async move { slow.list(&all()).await });
        while server.count(Verb::List, Resource::Services) == 0 {
            tokio::task::yield_now().await;
        }
        pods.list(&all()).await?;
        server.heal();
        let delay = Duration::from_millis(300);
        server.inject(Fault::delay(delay).on(Resource::Services));
        let start = Instant::now();
        services.list(&all()).await?;
        assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
        server.heal();

        // Whatever was connected hears nothing more, and neither does who connects now.
        server.silence();
        let connected = server.connected();
        let other = server.access().client().await?;
        let unheard = [pods, Api::all(other)]
            .map(|pods| tokio::spawn(async move { pods.list(&all()).await.map(drop) }));
        while server.connected() <= connected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.speak();
        let third: Api<Pod> = Api::all(server.access().client().await?);
        third.list(&all()).await?;
        assert!(unheard.iter().all(|task| !task.is_finished()));
        assert_eq!(server.count(Verb::List, Resource::Pods), 2);
        Ok(())
    });
}

#[test]
fn tokens_and_certificates_are_rotated() {
    with(Options::default(), async |server, client| {
        let pods: Api<Pod> = Api::all(client);
        pods.list(&all()).await?;
        server.rotate_token();
        refused(pods.list(&all()).await, 401, "Unauthorized")?;

        let folder = tempfile::tempdir()?;
        let files = async || -> Result<Api<Pod>> {
            let path = server.access().write_files(folder.path())?;
            Ok(Api::all(apiserver::client(Kubeconfig::read_from(path)?).await?))
        };
        let before = files().await?;
        before.list(&all()).await?;
        server.rotate_ca()?;
        // The connection that is open was not asked for a certificate again.
        before.list(&all()).await?;
        server.hang_up(Ending::Orderly);
        while server.connected() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let outcome = before.list(&all()).await;
        assert!(matches!(&outcome, Err(error) if !matches!(error, kube::Error::Api(_))));
        files().await?.list(&all()).await?;
        Ok(())
    });
}
