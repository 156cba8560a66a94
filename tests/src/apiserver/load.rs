//! As many endpoints as the agent is measured with: 10,000 slices of 50, listed both ways, then changed.
//!
//! It is no test of a kernel's, so it is kept from those that run on emulated ones. Nothing here
//! may assert a time: times are printed.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::{
    Api, ResourceExt as _,
    core::ObjectMeta,
    runtime::watcher::{self, Event, watcher},
};

use super::{Double, Options, Resource, Verb};

const SLICES: usize = 10_000;
const ENDPOINTS: usize = 50;
const CHANGES: usize = 1000;

fn slice(index: usize) -> EndpointSlice {
    let service = format!("service-{index:05}");
    let labels = [("kubernetes.io/service-name".to_owned(), service.clone())];
    let endpoint = |number: usize| Endpoint {
        addresses: vec![format!("10.{}.{}.{number}", index / 250 % 250, index % 250)],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        node_name: Some(format!("node-{}", number % 10)),
        ..Endpoint::default()
    };
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{service}-abcde")),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        endpoints: Some((1..=ENDPOINTS).map(endpoint).collect()),
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(8080),
            ..EndpointPort::default()
        }]),
    }
}

/// Lists all slices as `config` says, and returns the watcher that did.
async fn list(
    api: Api<EndpointSlice>,
    config: watcher::Config,
) -> Result<futures_util::stream::BoxStream<'static, watcher::Result<Event<EndpointSlice>>>> {
    let mut told = watcher(api, config).boxed();
    let (mut slices, mut endpoints) = (0, 0);
    loop {
        match told.try_next().await?.context("a watcher has no end")? {
            Event::Init => {}
            Event::InitApply(slice) => {
                slices += 1;
                endpoints += slice.endpoints.map_or(0, |endpoints| endpoints.len());
            }
            Event::InitDone => break,
            other => bail!("{other:?}"),
        }
    }
    assert_eq!((slices, endpoints), (SLICES, SLICES * ENDPOINTS));
    Ok(told)
}

/// `cargo test -p lb-tests --release --lib apiserver::load -- --nocapture` prints how long it takes.
#[test]
fn half_a_million_endpoints_are_listed_and_followed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(follow()).unwrap();
}

async fn follow() -> Result<()> {
    let server = Double::start(Options { tls: false, ..Options::default() })?;
    let mut start = Instant::now();
    let mut took = |what: &str| {
        eprintln!("{what}: {:?}", start.elapsed());
        start = Instant::now();
    };
    server.load((0..SLICES).map(slice))?;
    took("loaded");
    let client = server.access().client().await?;
    drop(list(Api::all(client.clone()), watcher::Config::default()).await?);
    took("listed in pages");
    let lists = server.count(Verb::List, Resource::EndpointSlices);
    assert_eq!(lists, SLICES.div_ceil(500));
    let mut told = list(Api::all(client), watcher::Config::default().streaming_lists()).await?;
    took("listed in a stream");
    assert_eq!(server.count(Verb::List, Resource::EndpointSlices), lists);
    for index in 0..CHANGES {
        server.apply(slice(index * 7 % SLICES))?;
    }
    took("changed 1,000 times");
    for index in 0..CHANGES {
        let Some(Event::Apply(changed)) = told.try_next().await? else { bail!("no event") };
        assert_eq!(changed.name_any(), slice(index * 7 % SLICES).name_any());
    }
    took("told of that");
    Ok(())
}
