//! What the tests of the model share: short ways to write objects, and a mirror of what the model
//! told.

mod addresses;
mod affinity;
mod api_server;
mod endpoints;
mod families;
mod interfaces;
mod node_ports;
mod objects;
mod order;
mod precedence;
mod retired;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde_json::{Value, json};

use super::{
    Backends, Frontend, FrontendKey, FrontendKind, Model, Notice, Options, Protocol, Target,
    Tracked,
};
use crate::source::{Event, Kind, Object, ObjectKey};

const WEB: &str = "10.96.0.1:80";
const NONE: [&str; 0] = [];

/// A caller that believes what it is told and checks that it is told nothing twice.
struct Caller {
    model: Model,
    known: BTreeMap<FrontendKey, Frontend>,
    notices: Vec<Notice>,
    /// Told since this was last cleared.
    retired: Vec<String>,
    serving: BTreeSet<(String, SocketAddr)>,
}

impl Caller {
    fn new(node: Option<&str>) -> Self {
        Self::unsynced(Options { node: node.map(str::to_owned), ..Options::default() })
    }

    fn unsynced(options: Options) -> Self {
        Self {
            model: Model::new(options),
            known: BTreeMap::new(),
            notices: Vec::new(),
            retired: Vec::new(),
            serving: BTreeSet::new(),
        }
    }

    /// A synced model on node "here", given these events.
    fn with(events: impl IntoIterator<Item = Event>) -> Self {
        Self::with_options(Options::default(), events)
    }

    fn with_options(options: Options, events: impl IntoIterator<Item = Event>) -> Self {
        let node = options.node.or_else(|| Some("here".to_owned()));
        let mut caller = Self::unsynced(Options { node, ..options });
        caller.give(events);
        caller.give([Event::Synced]);
        caller
    }

    /// Applies events, then takes the changes. Returns how many frontends changed.
    fn give(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        for event in events {
            self.model.apply(event);
        }
        let changes = self.model.take_changes();
        let count = changes.frontends.len();
        for change in changes.frontends {
            let before = match change.state.clone() {
                Some(state) => self.known.insert(change.key, state),
                None => self.known.remove(&change.key),
            };
            assert_ne!(before, change.state, "{} was told again", change.key);
        }
        let serving: BTreeSet<_> =
            self.model.serving().map(|(name, backend)| (name.to_string(), backend)).collect();
        let told: Vec<_> =
            changes.retired.iter().map(|told| (told.name.to_string(), told.backend)).collect();
        let gone: Vec<_> = self.serving.difference(&serving).cloned().collect();
        assert_eq!(told, gone, "those that serve no more are told, in order");
        assert!(serving.iter().all(|(port, backend)| self.model.serves(port, *backend)));
        assert!(!gone.iter().any(|(port, backend)| self.model.serves(port, *backend)));
        self.retired.extend(told.iter().map(|(name, backend)| format!("{name} {backend}")));
        self.serving = serving;
        self.notices.extend(changes.notices);
        count
    }

    /// Names of all frontends, in the order of their keys.
    fn frontends(&self) -> Vec<String> {
        self.known.values().map(|frontend| frontend.name.to_string()).collect()
    }

    /// Keys of all frontends.
    fn keys(&self) -> Vec<String> {
        self.known.keys().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn frontend(&self, address: &str) -> &Frontend {
        self.known.get(&key(address)).expect("a frontend")
    }

    /// The backends of one frontend.
    #[track_caller]
    fn backends(&self, address: &str) -> Vec<String> {
        set(self.frontend(address)).iter().map(|backend| backend.to_string()).collect()
    }

    /// Whether a frontend is known and left alone.
    #[track_caller]
    fn passes(&self, address: &str) -> bool {
        self.frontend(address).target == Target::Pass
    }

    fn said(&self, words: &str) -> usize {
        self.notices.iter().filter(|notice| notice.to_string().contains(words)).count()
    }
}

#[track_caller]
fn set(frontend: &Frontend) -> &std::sync::Arc<Backends> {
    let Target::Balance(backends) = &frontend.target else { panic!("{frontend:?}") };
    backends
}

/// `10.96.0.1:80`, which is TCP, or `10.96.0.1:53/UDP`, or `10.96.0.1:0/any`.
fn key(text: &str) -> FrontendKey {
    let (address, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let address: SocketAddr = address.parse().expect("an address");
    let protocol = match protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => Protocol::Any,
    };
    FrontendKey { address: address.ip(), port: address.port(), protocol }
}

/// A Service in namespace "ns".
fn service(name: &str, spec: Value) -> Event {
    created_service(name, json!({}), spec)
}

fn labelled_service(name: &str, labels: Value, spec: Value) -> Event {
    created_service(name, json!({"labels": labels}), spec)
}

fn created_service(name: &str, metadata: Value, spec: Value) -> Event {
    full_service(name, metadata, spec, json!([]))
}

/// A Service with these ingress points of its load balancer.
fn full_service(name: &str, mut metadata: Value, spec: Value, ingress: Value) -> Event {
    metadata["namespace"] = json!("ns");
    metadata["name"] = json!(name);
    let object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    Event::Apply(Object::Service(serde_json::from_value(object).expect("a Service")))
}

/// A Service in namespace "ns" with one unnamed port 80 at 10.96.0.1.
fn web(name: &str) -> Event {
    web_plus(name, json!({}))
}

/// The same with more fields.
fn web_plus(name: &str, fields: Value) -> Event {
    let mut spec = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]});
    for (field, value) in fields.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    service(name, spec)
}

/// A slice of the Service with the unnamed port 8080.
fn slice(name: &str, service: &str, endpoints: Value) -> Event {
    slice_with_ports(name, service, json!([{"name": "", "port": 8080}]), endpoints)
}

fn slice_with_ports(name: &str, service: &str, ports: Value, endpoints: Value) -> Event {
    full_slice(name, json!({"kubernetes.io/service-name": service}), "IPv4", ports, endpoints)
}

/// A slice of IPv6 endpoints with the unnamed port 8080.
fn slice6(name: &str, service: &str, endpoints: Value) -> Event {
    let ports = json!([{"name": "", "port": 8080}]);
    full_slice(name, json!({"kubernetes.io/service-name": service}), "IPv6", ports, endpoints)
}

fn full_slice(name: &str, labels: Value, family: &str, ports: Value, endpoints: Value) -> Event {
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "ns", "name": name, "labels": labels},
        "addressType": family, "ports": ports, "endpoints": endpoints,
    });
    Event::Apply(Object::EndpointSlice(serde_json::from_value(object).expect("an EndpointSlice")))
}

/// A ready endpoint.
fn ready(address: &str) -> Value {
    endpoint(address, json!({"ready": true}))
}

fn endpoint(address: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "conditions": conditions})
}

fn node(name: &str, zone: Option<&str>) -> Event {
    let labels = zone.map(|zone| json!({"topology.kubernetes.io/zone": zone}));
    let object = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
    });
    Event::Apply(Object::Node(serde_json::from_value(object).expect("a Node")))
}

/// The node has these addresses now.
fn local(addresses: &[&str]) -> Event {
    let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
    Event::LocalAddresses(addresses.collect())
}

/// A Node with these addresses in its status.
fn stated_node(name: &str, addresses: Value) -> Event {
    let object = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"addresses": addresses},
    });
    Event::Apply(Object::Node(serde_json::from_value(object).expect("a Node")))
}

/// The API server's Service, with one port and these fields.
fn kubernetes(fields: Value) -> Event {
    let mut spec = json!({
        "clusterIPs": ["10.96.0.250", "fd00::250"], "ports": [{"name": "https", "port": 443}],
    });
    for (field, value) in fields.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Service", "spec": spec,
        "metadata": {"namespace": "default", "name": "kubernetes"},
    });
    Event::Apply(Object::Service(serde_json::from_value(object).expect("a Service")))
}

/// Some of its endpoints.
fn kubernetes_slice(name: &str, family: &str, endpoints: Value) -> Event {
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {
            "namespace": "default", "name": name,
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "ports": [{"name": "https", "port": 6443}], "endpoints": endpoints,
    });
    Event::Apply(Object::EndpointSlice(serde_json::from_value(object).expect("an EndpointSlice")))
}

fn delete(kind: Kind, name: &str) -> Event {
    delete_in(if kind == Kind::Node { "" } else { "ns" }, kind, name)
}

fn delete_in(namespace: &str, kind: Kind, name: &str) -> Event {
    Event::Delete(ObjectKey { kind, namespace: namespace.into(), name: name.into() })
}
