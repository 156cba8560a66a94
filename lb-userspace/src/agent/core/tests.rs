//! From objects to plain memory: what the closer is told of backends that serve no more, and when.

use std::time::Duration;

use serde_json::{Value, json};

use super::{super::held::RETURN, *};
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

/// Everything that is due some time after the last publication, when no grace period is left.
fn told(core: &mut Core<Memory, Manual>, now: Instant) -> Vec<Gone> {
    core.publisher().settle().unwrap();
    core.take_due_retired(now)
}

/// A backend on the host 10.0.0.1 that went before the next one got the id `before`.
fn gone(service: u32, before: u32) -> Gone {
    Gone { service, backend: address("10.0.0.1:1053"), before }
}

#[test]
fn point_22_a_retired_backend_is_told_a_moment_after_no_connect_can_choose_it_any_more() {
    let (mut core, grace, id) = core();
    let now = Instant::now();
    give(&mut core, [slice(&["10.0.0.2"])]);
    assert!(core.take_due_retired(now).is_empty());
    // The one that the old set's block waits for started before the fence.
    pass(&mut core, &grace);
    assert!(core.take_due_retired(now + 2 * RETURN).is_empty());
    assert_eq!(core.retired_due(), None, "no time is enough as long as a connect can choose it");
    pass(&mut core, &grace);
    assert!(core.take_due_retired(now).is_empty());
    assert_eq!(core.retired_due(), Some(now + RETURN));
    assert!(core.take_due_retired(now + RETURN - Duration::from_millis(1)).is_empty());
    // Ids begin at 1, and two backends have one.
    assert_eq!(core.take_due_retired(now + RETURN), [gone(id, 3)]);
    assert!(core.take_due_retired(now + 9 * RETURN).is_empty());
    assert_eq!(core.retired_due(), None);
    assert!(core.publisher().is_settled());
}

#[test]
fn point_22_backends_of_a_service_that_goes_are_told_by_the_id_that_it_had() {
    let (mut core, _, id) = core();
    let now = Instant::now();
    give(&mut core, [delete(Kind::Service, "dns"), delete(Kind::EndpointSlice, "dns-1")]);
    assert!(told(&mut core, now).is_empty());
    assert_eq!(core.publisher().service_id("ns/dns:dns/UDP", Family::V4), None);
    // It is back, as another one to those that have its old id.
    give(&mut core, [service(), slice(&["10.0.0.1", "10.0.0.2"])]);
    let due = told(&mut core, now + RETURN).into_iter().map(|gone| (gone.service, gone.backend));
    let mut due: Vec<_> = due.collect();
    due.sort_unstable();
    assert_eq!(due, ["10.0.0.1:1053", "10.0.0.2:1053"].map(|text| (id, address(text))));
}

#[test]
fn point_22_a_backend_that_is_back_in_a_moment_is_told_when_it_goes_for_good() {
    let (mut core, _, id) = core();
    let now = Instant::now();
    give(&mut core, [slice(&["10.0.0.2"])]);
    assert!(told(&mut core, now).is_empty());
    give(&mut core, [slice(&["10.0.0.1", "10.0.0.2"])]);
    assert!(told(&mut core, now + RETURN).is_empty());
    give(&mut core, [slice(&["10.0.0.2"])]);
    assert!(told(&mut core, now + RETURN).is_empty());
    // Sockets that remember its first id are meant as well as those that remember its second.
    assert_eq!(told(&mut core, now + 2 * RETURN), [gone(id, 4)]);
}

#[test]
fn point_22_a_backend_that_goes_again_in_a_moment_is_told_a_moment_after_the_last_time() {
    let (mut core, _, id) = core();
    let now = Instant::now();
    let half = RETURN / 2;
    give(&mut core, [slice(&["10.0.0.2"])]);
    assert!(told(&mut core, now).is_empty());
    give(&mut core, [slice(&["10.0.0.1", "10.0.0.2"])]);
    give(&mut core, [slice(&["10.0.0.2"])]);
    assert!(told(&mut core, now + half).is_empty());
    // Moved a second time: it is not there just when it is due for the first.
    assert!(told(&mut core, now + RETURN).is_empty());
    assert_eq!(told(&mut core, now + RETURN + half), [gone(id, 4)]);
    assert!(told(&mut core, now + 9 * RETURN).is_empty());
}

#[test]
fn point_22_and_27_a_backend_that_was_back_before_a_restart_is_told_with_all_ids_that_it_had() {
    let (sizes, grace) = (Sizes::new(8, 16), Manual::default());
    // It had the id 2 before it had 9.
    let (port, backend) = ((Family::V4, "ns/dns:dns/UDP".into(), 3), address("10.0.0.1:1053"));
    let ids = Ids::carried_over((4, 10), [port], [(3, backend, 9)]).unwrap();
    let model = Model::new(Options { track: Tracked::Udp, ..Options::default() });
    let mut core = Core::new(model, Publisher::new(Memory::new(sizes), grace, sizes, ids));
    let now = Instant::now();
    give(&mut core, [service(), slice(&["10.0.0.1"]), Event::Synced]);
    assert_eq!(core.serving_ids(), HashSet::from([(3, backend)]));
    give(&mut core, [slice(&[])]);
    assert!(told(&mut core, now).is_empty());
    assert_eq!(core.serving_ids(), HashSet::from([(3, backend)]), "it may be back");
    assert_eq!(told(&mut core, now + RETURN), [gone(3, 10)]);
    assert!(core.serving_ids().is_empty());
}

#[test]
fn point_22_what_serves_is_told_with_the_id_of_its_port() {
    let (mut core, _, id) = core();
    give(&mut core, [slice(&["10.0.0.2", "10.0.0.3"])]);
    let serving = |hosts: &[u8]| -> HashSet<_> {
        hosts.iter().map(|host| (id, address(&format!("10.0.0.{host}:1053")))).collect()
    };
    assert_eq!(core.serving_ids(), serving(&[1, 2, 3]), "the first one may be back");
    let now = Instant::now();
    assert!(told(&mut core, now).is_empty());
    assert_eq!(told(&mut core, now + RETURN).len(), 1);
    assert_eq!(core.serving_ids(), serving(&[2, 3]));
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
    let now = Instant::now();
    assert!(told(&mut core, now).is_empty());
    assert_eq!(told(&mut core, now + RETURN), [gone(3, 10)]);
    assert_eq!(core.serving_ids(), HashSet::from([backends[1]]));
}
