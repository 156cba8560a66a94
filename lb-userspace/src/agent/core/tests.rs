//! From objects to plain memory: what the closer is told of backends that serve no more.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::*;
use crate::{
    model::{Options, Tracked},
    publish::{
        Ids, Sizes,
        memory::{Manual, Memory},
    },
    source::{Kind, Object, ObjectKey},
};

fn service() -> Event {
    let object = json!({
        "metadata": {"namespace": "ns", "name": "dns"},
        "spec": {
            "clusterIPs": ["10.96.0.10"],
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
        },
    });
    Event::Apply(Object::Service(serde_json::from_value(object).unwrap()))
}

fn slice(addresses: &[&str]) -> Event {
    let endpoints: Vec<Value> =
        addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    let object = json!({
        "metadata": {
            "namespace": "ns",
            "name": "dns-1",
            "labels": {"kubernetes.io/service-name": "dns"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "dns", "port": 1053, "protocol": "UDP"}],
        "endpoints": endpoints,
    });
    Event::Apply(Object::EndpointSlice(serde_json::from_value(object).unwrap()))
}

fn delete(kind: Kind, name: &str) -> Event {
    Event::Delete(ObjectKey { kind, namespace: "ns".into(), name: name.into() })
}

/// A core that has published two backends, and the id of their Service port.
fn core() -> (Core<Memory, Manual>, Manual, u32) {
    let (sizes, grace) = (Sizes::new(8, 16), Manual::default());
    let model = Model::new(Options { track: Tracked::Udp, ..Options::default() });
    let publisher = Publisher::new(Memory::new(sizes), grace.clone(), sizes, Ids::default());
    let mut core = Core::new(model, publisher);
    give(&mut core, [service(), slice(&["10.0.0.1", "10.0.0.2"]), Event::Synced]);
    let id = core.publisher().service_id("ns/dns:dns/UDP", Family::V4).unwrap();
    (core, grace, id)
}

fn give(core: &mut Core<Memory, Manual>, events: impl IntoIterator<Item = Event>) {
    events.into_iter().for_each(|event| core.apply(event));
    let outcome = core.publish().unwrap();
    assert!(outcome.failures.is_empty() && outcome.notices.is_empty(), "{outcome:?}");
}

/// Lets the grace period that is under way end.
fn pass(core: &mut Core<Memory, Manual>, grace: &Manual) {
    assert!(grace.under_way.get());
    grace.over.set(true);
    core.publisher().maintain(false).unwrap();
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn point_22_a_retired_backend_is_told_when_no_connect_can_choose_it_any_more() {
    let (mut core, grace, id) = core();
    give(&mut core, [slice(&["10.0.0.2"])]);
    assert!(core.take_due_retired().is_empty());
    // The one that the old set's block waits for started before the fence.
    pass(&mut core, &grace);
    assert!(core.take_due_retired().is_empty());
    pass(&mut core, &grace);
    // Ids begin at 1, and two backends have one.
    let gone = Gone { service: id, backend: address("10.0.0.1:1053"), before: 3 };
    assert_eq!(core.take_due_retired(), [gone]);
    assert!(core.take_due_retired().is_empty());
    assert!(core.publisher().is_settled());
}

#[test]
fn point_22_backends_of_a_service_that_goes_are_told_by_the_id_that_it_had() {
    let (mut core, _, id) = core();
    let gone = [delete(Kind::Service, "dns"), delete(Kind::EndpointSlice, "dns-1")];
    give(&mut core, gone);
    core.publisher().settle().unwrap();
    assert_eq!(core.publisher().service_id("ns/dns:dns/UDP", Family::V4), None);
    let due = core.take_due_retired().into_iter().map(|gone| (gone.service, gone.backend));
    let expected = ["10.0.0.1:1053", "10.0.0.2:1053"].map(|text| (id, address(text)));
    assert_eq!(due.collect::<Vec<_>>(), expected);
}

#[test]
fn point_22_a_backend_that_comes_back_has_a_later_id_than_those_that_are_meant() {
    let (mut core, _, _) = core();
    give(&mut core, [slice(&["10.0.0.2"])]);
    give(&mut core, [slice(&["10.0.0.1", "10.0.0.2"])]);
    core.publisher().settle().unwrap();
    let due = core.take_due_retired();
    assert_eq!(due.iter().map(|gone| gone.before).collect::<Vec<_>>(), [3]);
    assert_eq!(core.publisher().next_backend_id(), 4);
}

#[test]
fn point_22_what_serves_is_told_with_the_id_of_its_port() {
    let (mut core, _, id) = core();
    give(&mut core, [slice(&["10.0.0.2", "10.0.0.3"])]);
    let serving = ["10.0.0.2:1053", "10.0.0.3:1053"].map(|text| (id, address(text)));
    assert_eq!(core.serving_ids(), HashSet::from(serving));
}

#[test]
fn point_22_sockets_of_a_service_that_finds_no_room_after_a_restart_are_known_to_be_served() {
    let (sizes, grace) = (Sizes::new(8, 1), Manual::default());
    let known = [(Family::V4, "ns/dns:dns/UDP".into(), 3)];
    let ids = Ids::carried_over((4, 10), known, []).unwrap();
    let model = Model::new(Options { track: Tracked::Udp, ..Options::default() });
    let mut core = Core::new(model, Publisher::new(Memory::new(sizes), grace, sizes, ids));
    for event in [service(), slice(&["10.0.0.1", "10.0.0.2"]), Event::Synced] {
        core.apply(event);
    }
    assert_eq!(core.publish().unwrap().failures.len(), 1);
    let backends = ["10.0.0.1:1053", "10.0.0.2:1053"].map(|it| (3, it.parse().unwrap()));
    assert_eq!(core.serving_ids(), HashSet::from(backends));
    // Its id is its own when it fits.
    core.apply(slice(&["10.0.0.2"]));
    assert!(core.publish().unwrap().failures.is_empty());
    assert_eq!(core.serving_ids(), HashSet::from([backends[1]]));
}
