//! Any options, and any step on objects of few names and addresses, so that steps meet.

use proptest::prelude::*;
use serde_json::json;

use crate::model::tests::*;

/// One step on one of a few names and addresses, so that steps meet.
#[derive(Clone, Debug)]
pub(super) enum Step {
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
pub(super) const PROTECTED: &str = "203.0.113.1";
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

pub(super) fn any_step() -> impl Strategy<Value = Step> {
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

pub(super) fn any_options() -> impl Strategy<Value = Options> {
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
