//! Point 29: whatever the order of creates, updates and deletes, the end is the same as when the
//! objects that are left had been there from the start.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, BuildHasherDefault},
};

use proptest::prelude::*;
use rustc_hash::FxHasher;
use serde_json::json;

use super::*;

/// One step on one of a few names and addresses, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Apply(Event),
    Delete(Kind, &'static str),
    /// The same in the API server's namespace.
    DeleteDefault(Kind, &'static str),
    /// Take the changes here.
    Take,
}

const SERVICES: [&str; 3] = ["a", "b", "c"];
const SLICES: [&str; 4] = ["s1", "s2", "s3", "s4"];
/// What Services name beside their ClusterIPs: other Services', the node's, the API server's.
const NAMED: [&str; 6] =
    ["10.96.0.1", "192.0.2.1", "192.168.0.1", "203.0.113.1", "fd00::a", "2001:db8::1"];
/// What the node has, ClusterIPs among them.
const LOCAL: [&str; 5] = ["192.168.0.1", "192.0.2.1", "10.96.0.1", "2001:db8::1", "fd00::b"];
const PROTECTED: &str = "203.0.113.1";
const API_SLICES: [&str; 3] = ["k1", "k2", "k3"];

fn any_port() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec!["x", "y", ""]);
    let protocols = prop::sample::select(vec!["TCP", "TCP", "UDP", "SCTP"]);
    let node_ports = prop::sample::select(vec![0, 0, 80, 30080]);
    (names, 80..83u16, protocols, node_ports).prop_map(|(name, port, protocol, node_port)| {
        json!({"name": name, "port": port, "protocol": protocol, "nodePort": node_port})
    })
}

fn any_service() -> impl Strategy<Value = Event> {
    let metadata = prop::sample::select(vec![
        json!({}),
        json!({"creationTimestamp": "2024-01-01T00:00:00Z"}),
        json!({"creationTimestamp": "2024-01-02T00:00:00Z"}),
        json!({"labels": {"service.kubernetes.io/service-proxy-name": "x"}}),
    ]);
    let cluster_ips = prop::sample::select(vec![
        json!(["10.96.0.1"]),
        json!(["10.96.0.2"]),
        json!(["10.96.0.2", "fd00::a"]),
        json!(["fd00::b", "10.96.0.1"]),
        json!(["fd00::a"]),
        json!(["None"]),
    ]);
    let kinds = prop::sample::select(vec![
        "ClusterIP",
        "NodePort",
        "LoadBalancer",
        "LoadBalancer",
        "NodePort",
        "ExternalName",
    ]);
    let policy = prop::sample::select(vec!["Local", "Cluster"]);
    let affinity = prop::sample::select(vec!["ClientIP", "None"]);
    let ranges = prop::sample::select(vec![json!([]), json!(["10.0.0.0/8"]), json!(["::/0"])]);
    let named = || prop::sample::subsequence(NAMED.to_vec(), 0..=3);
    let names = prop::sample::select(&SERVICES[..]);
    let ports = prop::collection::vec(any_port(), 0..4);
    ((names, metadata, cluster_ips, kinds), (policy, affinity, ranges, ports), (named(), named()))
        .prop_map(|(object, choices, (external_ips, ingress))| {
            let (name, metadata, cluster_ips, kind) = object;
            let (policy, affinity, ranges, ports) = choices;
            let spec = json!({
                "clusterIPs": cluster_ips, "type": kind, "internalTrafficPolicy": policy,
                "sessionAffinity": affinity, "loadBalancerSourceRanges": ranges, "ports": ports,
                "externalIPs": external_ips,
            });
            let ingress: Vec<_> = ingress.into_iter().map(|ip| json!({"ip": ip})).collect();
            full_service(name, metadata, spec, json!(ingress))
        })
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
    let address = (0..5u8, prop::sample::select(vec!["10.0.0.", "10.0.0.", "fd00::"]));
    (address, flag(), flag(), flag(), node, hints).prop_map(
        |((host, prefix), ready, serving, terminating, node, hints)| {
            let conditions =
                json!({"ready": ready, "serving": serving, "terminating": terminating});
            json!({
                "addresses": [format!("{prefix}{host}")], "conditions": conditions,
                "nodeName": node, "hints": hints,
            })
        },
    )
}

fn any_slice() -> impl Strategy<Value = Event> {
    let ports = prop::sample::subsequence(
        vec![("x", 1, "TCP"), ("y", 2, "TCP"), ("", 3, "UDP"), ("x", 4, "UDP"), ("", 5, "TCP")],
        0..=4,
    );
    let family = prop::sample::select(vec!["IPv4", "IPv4", "IPv6", "FQDN"]);
    let endpoints = prop::collection::vec(any_endpoint(), 0..4);
    let names = (prop::sample::select(&SLICES[..]), prop::sample::select(&SERVICES[..]));
    (names, family, ports, endpoints).prop_map(|((name, service), family, ports, endpoints)| {
        let ports: Vec<_> = ports
            .into_iter()
            .map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}))
            .collect();
        let labels = json!({"kubernetes.io/service-name": service});
        full_slice(name, labels, family, json!(ports), json!(endpoints))
    })
}

/// The API server's Service, which may lose a family, a port, or all of its frontends.
fn any_api_service() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![
        json!({}),
        json!({"clusterIPs": ["10.96.0.1"]}),
        json!({"internalTrafficPolicy": "Local", "externalIPs": ["192.0.2.1"]}),
        json!({"ports": [{"name": "other", "port": 443}]}),
        json!({"clusterIPs": ["None"]}),
    ])
    .prop_map(kubernetes)
}

/// Some of its endpoints, at addresses that Services name too.
fn any_api_slice() -> impl Strategy<Value = Event> {
    let conditions = prop::sample::select(vec![
        json!({}),
        json!({"ready": false}),
        json!({"ready": false, "terminating": true}),
    ]);
    let named = prop::sample::select(NAMED[1..].to_vec());
    let node = prop::sample::select(vec!["here", "there"]);
    let endpoint = (named, conditions, node).prop_map(|(address, conditions, node)| {
        json!({"addresses": [address], "conditions": conditions, "nodeName": node})
    });
    let endpoints = prop::collection::vec(endpoint, 0..3);
    let family = prop::sample::select(vec!["IPv4", "IPv4", "IPv6"]);
    (prop::sample::select(&API_SLICES[..]), family, endpoints)
        .prop_map(|(name, family, endpoints)| kubernetes_slice(name, family, json!(endpoints)))
}

/// This node's object.
fn any_node() -> impl Strategy<Value = Event> {
    let zones = prop::sample::select(vec![Some("z1"), Some("z2"), None]);
    let kind = prop::sample::select(vec!["InternalIP", "ExternalIP", "Hostname"]);
    (zones, kind, prop::sample::subsequence(NAMED.to_vec(), 0..=3)).prop_map(
        |(zone, kind, addresses)| {
            let Event::Apply(Object::Node(mut object)) = node("here", zone) else { unreachable!() };
            let stated = addresses.iter().map(|it| json!({"type": kind, "address": it}));
            let status = json!({"addresses": stated.collect::<Vec<_>>()});
            object.status = serde_json::from_value(status).expect("a status");
            Event::Apply(Object::Node(object))
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let addresses = prop::sample::subsequence(LOCAL.to_vec(), 0..=4);
    prop_oneof![
        5 => any_service().prop_map(Step::Apply),
        6 => any_slice().prop_map(Step::Apply),
        2 => any_node().prop_map(Step::Apply),
        2 => any_api_service().prop_map(Step::Apply),
        4 => any_api_slice().prop_map(Step::Apply),
        4 => addresses.prop_map(|addresses| Step::Apply(local(&addresses))),
        2 => prop::sample::select(&SERVICES[..]).prop_map(|n| Step::Delete(Kind::Service, n)),
        2 => prop::sample::select(&SLICES[..]).prop_map(|n| Step::Delete(Kind::EndpointSlice, n)),
        1 => Just(Step::Delete(Kind::Node, "here")),
        1 => Just(Step::DeleteDefault(Kind::Service, "kubernetes")),
        2 => prop::sample::select(&API_SLICES[..])
            .prop_map(|n| Step::DeleteDefault(Kind::EndpointSlice, n)),
        6 => Just(Step::Take),
    ]
}

fn any_options() -> impl Strategy<Value = Options> {
    let tracked = prop::sample::select(vec![Tracked::None, Tracked::Udp, Tracked::UdpAndTcp]);
    let network = prop::option::of(Just("192.168.0.0/24".parse().expect("a network")));
    (any::<bool>(), any::<bool>(), network, tracked).prop_map(
        |(node_port_localhost, translate_local, network, track)| Options {
            node: None,
            node_port_addresses: network.into_iter().collect(),
            node_port_localhost,
            translate_local,
            protected: vec![PROTECTED.parse().expect("an address")],
            track,
        },
    )
}

fn key_of(event: &Event) -> (Option<Kind>, String) {
    let (kind, name) = match event {
        Event::Apply(Object::Service(object)) => (Kind::Service, &object.metadata.name),
        Event::Apply(Object::EndpointSlice(object)) => (Kind::EndpointSlice, &object.metadata.name),
        Event::Apply(Object::Node(object)) => (Kind::Node, &object.metadata.name),
        Event::LocalAddresses(_) => return (None, String::new()),
        other => panic!("{other:?} leaves nothing"),
    };
    (Some(kind), name.clone().expect("a name"))
}

/// What holds for every frontend, whatever the objects.
fn check(key: &FrontendKey, frontend: &Frontend) {
    assert_eq!(frontend.kind == FrontendKind::Known, key.port == 0, "{key}");
    assert_eq!(frontend.host_only, key.address.is_loopback(), "{key}");
    if is_named(frontend) {
        assert_ne!(key.address.to_string(), PROTECTED);
    }
    if let Target::Balance(backends) = &frontend.target {
        assert!(backends.iter().is_sorted_by(|a, b| a < b), "{key}");
        assert_eq!(matches!(**backends, Backends::V4(_)), key.address.is_ipv4(), "{key}");
    }
}

/// The same state, but for what point 28 lets an older model know beside: where the API server's
/// Service has nothing, its last backends, which nobody may take over.
fn compare(caller: &Caller, fresh: &Caller) {
    let addresses = |caller: &Caller| caller.known.keys().copied().collect::<BTreeSet<_>>();
    let remembered: BTreeSet<_> = caller
        .model
        .node
        .api_server()
        .difference(&fresh.model.node.api_server())
        .copied()
        .collect();
    let is_api = |frontend: &Frontend| frontend.name.starts_with("default/kubernetes:");
    for key in addresses(caller).union(&addresses(fresh)) {
        let (now, new) = (caller.known.get(key), fresh.known.get(key));
        match (now, new) {
            (Some(now), Some(new)) if is_api(new) && empty(new) && !empty(now) => {
                assert_eq!(Frontend { target: new.target.clone(), ..now.clone() }, *new, "{key}");
                let known =
                    |backend: SocketAddr| caller.model.node.api_server().contains(&backend.ip());
                assert!(set(now).iter().all(known), "{key}");
            }
            _ if remembered.contains(&key.address) => {
                assert!(now.is_none_or(|now| !is_named(now)), "{key}: {now:?}");
                assert!(new.is_none_or(is_named) || now == new, "{key}: {now:?}, {new:?}");
            }
            _ => assert_eq!(now, new, "{key}"),
        }
    }
    let mut more = caller.serving.difference(&fresh.serving);
    assert!(more.all(|(name, backend)| {
        name.starts_with("default/kubernetes:")
            && caller.model.node.api_server().contains(&backend.ip())
    }));
    assert!(caller.serving.is_superset(&fresh.serving));
}

fn empty(frontend: &Frontend) -> bool {
    matches!(&frontend.target, Target::Balance(backends) if backends.is_empty())
}

fn is_named(frontend: &Frontend) -> bool {
    matches!(frontend.kind, FrontendKind::ExternalIp | FrontendKind::LoadBalancer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn point_29_any_order_ends_in_the_state_of_the_final_objects(
        options in any_options(),
        steps in prop::collection::vec(any_step(), 0..40),
        order in any::<u64>(),
    ) {
        let mut objects = BTreeMap::new();
        let mut caller = Caller::with_options(options.clone(), []);
        for step in steps {
            match step {
                Step::Apply(event) => {
                    objects.insert(key_of(&event), event.clone());
                    caller.model.apply(event);
                }
                Step::Delete(kind, name) => {
                    objects.remove(&(Some(kind), name.to_owned()));
                    caller.model.apply(delete(kind, name));
                }
                Step::DeleteDefault(kind, name) => {
                    objects.remove(&(Some(kind), name.to_owned()));
                    caller.model.apply(delete_in("default", kind, name));
                }
                Step::Take => { caller.give([]); }
            }
        }
        caller.give([]);

        // The API server's Service comes after its slices: what only some of them say together would
        // be remembered else (point 28).
        let mut last: Vec<_> = objects.into_iter().collect();
        let hasher = BuildHasherDefault::<FxHasher>::default();
        last.sort_by_key(|((kind, name), _)| {
            (name == "kubernetes", hasher.hash_one((order, kind, name)))
        });
        let fresh = Caller::with_options(options, last.into_iter().map(|(_, event)| event));
        compare(&caller, &fresh);
        for (key, frontend) in &caller.known {
            check(key, frontend);
        }
        // Nothing is kept beyond the objects that are left.
        prop_assert_eq!(caller.model.services.len(), fresh.model.services.len());
        prop_assert_eq!(caller.model.owners.len(), fresh.model.owners.len());
        prop_assert_eq!(caller.model.claims.len(), fresh.model.claims.len());
        prop_assert_eq!(caller.model.uses.len(), fresh.model.uses.len());
    }
}
