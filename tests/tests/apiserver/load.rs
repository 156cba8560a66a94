//! As many endpoints as the agent is measured with.

use std::time::Instant;

use anyhow::Context;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::{
    Api,
    core::ObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use lab::apiserver::{Options, Resource, Verb};

use super::with;

const SLICES: usize = 10_000;
const ENDPOINTS: usize = 50;

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

fn all_come(config: watcher::Config, lists: bool) {
    with(Options { tls: false, ..Options::default() }, async |server, client| {
        let start = Instant::now();
        server.load((0..SLICES).map(slice))?;
        let loaded = start.elapsed();
        let api: Api<EndpointSlice> = Api::all(client);
        let mut told = watcher(api, config).boxed();
        let (mut slices, mut endpoints) = (0, 0);
        loop {
            match told.try_next().await?.context("a watcher has no end")? {
                Event::InitApply(slice) => {
                    slices += 1;
                    endpoints += slice.endpoints.map_or(0, |endpoints| endpoints.len());
                }
                Event::InitDone => break,
                Event::Init => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        eprintln!("loaded in {loaded:?}, listed in {:?}", start.elapsed() - loaded);
        assert_eq!((slices, endpoints), (SLICES, SLICES * ENDPOINTS));
        assert_eq!(server.count(Verb::List, Resource::EndpointSlices) > 0, lists);
        Ok(())
    });
}

#[test]
fn half_a_million_endpoints_come_in_pages() {
    all_come(watcher::Config::default(), true);
}

#[test]
fn half_a_million_endpoints_come_in_a_stream() {
    all_come(watcher::Config::default().streaming_lists(), false);
}
