//! Point 29: whatever the order of creates, updates and deletes, the end is the same as when the
//! objects that are left had been there from the start.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// One step on one of a few names, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Apply(Event),
    Delete(Kind, &'static str),
    /// Take the changes here.
    Take,
}

const SERVICES: [&str; 3] = ["a", "b", "c"];
const SLICES: [&str; 4] = ["s1", "s2", "s3", "s4"];

fn any_service() -> impl Strategy<Value = Event> {
    let ports = prop::sample::subsequence(vec![("x", 80), ("y", 81), ("", 82), ("y", 80)], 0..=3);
    let metadata = prop::sample::select(vec![
        json!({}),
        json!({"creationTimestamp": "2024-01-01T00:00:00Z"}),
        json!({"creationTimestamp": "2024-01-02T00:00:00Z"}),
        json!({"labels": {"service.kubernetes.io/service-proxy-name": "x"}}),
    ]);
    let addresses = prop::sample::select(vec!["10.96.0.1", "10.96.0.2", "None"]);
    let policy = prop::sample::select(vec!["Local", "Cluster"]);
    (prop::sample::select(&SERVICES[..]), metadata, addresses, policy, ports).prop_map(
        |(name, metadata, address, policy, ports)| {
            let ports: Vec<_> =
                ports.into_iter().map(|(name, port)| json!({"name": name, "port": port})).collect();
            let spec = json!({
                "clusterIP": address, "internalTrafficPolicy": policy, "ports": ports,
            });
            created_service(name, metadata, spec)
        },
    )
}

fn any_endpoint() -> impl Strategy<Value = Value> {
    let flag = || prop::option::of(any::<bool>());
    let node = prop::sample::select(vec!["here", "there"]);
    let hints = prop::sample::select(vec![
        json!(null),
        json!({"forZones": [{"name": "z1"}]}),
        json!({"forZones": [{"name": "z2"}], "forNodes": [{"name": "here"}]}),
        json!({"forNodes": [{"name": "there"}]}),
    ]);
    (0..5u8, flag(), flag(), flag(), node, hints).prop_map(
        |(host, ready, serving, terminating, node, hints)| {
            let conditions =
                json!({"ready": ready, "serving": serving, "terminating": terminating});
            json!({
                "addresses": [format!("10.0.0.{host}")], "conditions": conditions,
                "nodeName": node, "hints": hints,
            })
        },
    )
}

fn any_slice() -> impl Strategy<Value = Event> {
    let ports = prop::sample::subsequence(vec![("x", 1), ("y", 2), ("", 3), ("x", 4)], 0..=3);
    let family = prop::sample::select(vec!["IPv4", "IPv4", "IPv4", "FQDN"]);
    let endpoints = prop::collection::vec(any_endpoint(), 0..4);
    (
        prop::sample::select(&SLICES[..]),
        prop::sample::select(&SERVICES[..]),
        family,
        ports,
        endpoints,
    )
        .prop_map(|(name, service, family, ports, endpoints)| {
            let ports: Vec<_> =
                ports.into_iter().map(|(name, port)| json!({"name": name, "port": port})).collect();
            let labels = json!({"kubernetes.io/service-name": service});
            full_slice(name, labels, family, json!(ports), json!(endpoints))
        })
}

fn any_step() -> impl Strategy<Value = Step> {
    let zones = prop::sample::select(vec![Some("z1"), Some("z2"), None]);
    prop_oneof![
        4 => any_service().prop_map(Step::Apply),
        6 => any_slice().prop_map(Step::Apply),
        1 => zones.prop_map(|zone| Step::Apply(node("here", zone))),
        2 => prop::sample::select(&SERVICES[..]).prop_map(|n| Step::Delete(Kind::Service, n)),
        2 => prop::sample::select(&SLICES[..]).prop_map(|n| Step::Delete(Kind::EndpointSlice, n)),
        1 => Just(Step::Delete(Kind::Node, "here")),
        3 => Just(Step::Take),
    ]
}

fn key_of(event: &Event) -> (Kind, String) {
    let (kind, name) = match event {
        Event::Apply(Object::Service(object)) => (Kind::Service, &object.metadata.name),
        Event::Apply(Object::EndpointSlice(object)) => (Kind::EndpointSlice, &object.metadata.name),
        Event::Apply(Object::Node(object)) => (Kind::Node, &object.metadata.name),
        other => panic!("{other:?} is no apply"),
    };
    (kind, name.clone().expect("a name"))
}

proptest! {
    #[test]
    fn point_29_any_order_ends_in_the_state_of_the_final_objects(
        steps in prop::collection::vec(any_step(), 0..40),
        reversed in any::<bool>(),
    ) {
        let mut objects = BTreeMap::new();
        let mut caller = Caller::with([]);
        for step in steps {
            match step {
                Step::Apply(event) => {
                    objects.insert(key_of(&event), event.clone());
                    caller.model.apply(event);
                }
                Step::Delete(kind, name) => {
                    objects.remove(&(kind, name.to_owned()));
                    caller.model.apply(delete(kind, name));
                }
                Step::Take => { caller.give([]); }
            }
        }
        caller.give([]);

        let mut last: Vec<_> = objects.into_values().collect();
        if reversed {
            last.reverse();
        }
        let fresh = Caller::with(last);
        prop_assert_eq!(&caller.known, &fresh.known);
        for frontend in caller.known.values() {
            let Target::Balance(backends) = &frontend.target else { continue };
            prop_assert!(backends.iter().is_sorted_by(|a, b| a < b));
        }
        // Nothing is kept beyond the objects that are left.
        prop_assert_eq!(caller.model.services.len(), fresh.model.services.len());
        prop_assert_eq!(caller.model.owners.len(), fresh.model.owners.len());
        prop_assert_eq!(caller.model.claims.len(), fresh.known.len());
    }
}
