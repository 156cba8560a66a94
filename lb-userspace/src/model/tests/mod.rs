//! What the tests of the model share: short ways to write objects, and a mirror of what the model
//! told.

mod endpoints;
mod objects;
mod order;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Frontend, FrontendKey, Model, Notice, Options, Protocol, Target};
use crate::source::{Event, Kind, Object, ObjectKey};

/// A caller that believes what it is told and checks that it is told nothing twice.
struct Caller {
    model: Model,
    known: BTreeMap<FrontendKey, Frontend>,
    notices: Vec<Notice>,
}

impl Caller {
    fn new(node: Option<&str>) -> Self {
        Self::with_options(Options { node: node.map(str::to_owned), ..Options::default() })
    }

    fn with_options(options: Options) -> Self {
        Self { model: Model::new(options), known: BTreeMap::new(), notices: Vec::new() }
    }

    /// A synced model on node "here", given these events.
    fn with(events: impl IntoIterator<Item = Event>) -> Self {
        let mut caller = Self::new(Some("here"));
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
            assert_ne!(before, change.state, "{:?} was told again", change.key);
        }
        self.notices.extend(changes.notices);
        count
    }

    /// Names and backends of all frontends.
    fn frontends(&self) -> Vec<String> {
        self.known.values().map(|frontend| frontend.name.to_string()).collect()
    }

    /// The backends of one frontend.
    #[track_caller]
    fn backends(&self, address: &str) -> Vec<String> {
        let frontend = self.known.get(&key(address)).expect("a frontend");
        let Target::Balance(backends) = &frontend.target else { panic!("{frontend:?}") };
        backends.iter().map(|backend| backend.to_string()).collect()
    }

    fn said(&self, words: &str) -> usize {
        self.notices.iter().filter(|notice| notice.to_string().contains(words)).count()
    }
}

/// `10.96.0.1:80`, which is TCP, or `10.96.0.1:53/UDP`.
fn key(text: &str) -> FrontendKey {
    let (address, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let protocol = match protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => Protocol::Any,
    };
    FrontendKey { address: address.ip(), port: address.port(), protocol }
}

/// A Service in namespace "ns".
fn service(name: &str, spec: Value) -> Event {
    labelled_service(name, json!({}), spec)
}

fn labelled_service(name: &str, labels: Value, spec: Value) -> Event {
    created_service(name, json!({"labels": labels}), spec)
}

fn created_service(name: &str, metadata: Value, spec: Value) -> Event {
    let mut metadata = metadata;
    metadata["namespace"] = json!("ns");
    metadata["name"] = json!(name);
    let object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec,
    });
    Event::Apply(Object::Service(serde_json::from_value(object).expect("a Service")))
}

/// A Service in namespace "ns" with one unnamed port 80 at 10.96.0.1.
fn web(name: &str) -> Event {
    service(name, json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}))
}

/// A slice of the Service with the unnamed port 8080.
fn slice(name: &str, service: &str, endpoints: Value) -> Event {
    slice_with_ports(name, service, json!([{"name": "", "port": 8080}]), endpoints)
}

fn slice_with_ports(name: &str, service: &str, ports: Value, endpoints: Value) -> Event {
    full_slice(name, json!({"kubernetes.io/service-name": service}), "IPv4", ports, endpoints)
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

fn delete(kind: Kind, name: &str) -> Event {
    let namespace = if kind == Kind::Node { "" } else { "ns" };
    Event::Delete(ObjectKey { kind, namespace: namespace.into(), name: name.into() })
}
