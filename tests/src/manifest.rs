//! A Service and its endpoints as manifests, spelled in a line.
//!
//! What a test does not say is left out of the manifests too.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde_json::{Value, json};

use crate::{port::Addresses, programs::Transport};

/// A Service in the namespace `default`, with EndpointSlices for each family.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    metadata: Value,
    spec: Value,
    status: Value,
    ports: Vec<Port>,
    endpoints: Vec<(SocketAddr, Value)>,
}

#[derive(Clone, Copy, Debug)]
struct Port {
    transport: Transport,
    number: u16,
    node_port: Option<u16>,
}

impl Service {
    /// A Service with one TCP port.
    pub fn tcp(name: &str, vip: impl Addresses) -> Self {
        Self::new(name, Transport::Tcp, &vip.addresses())
    }

    /// A Service with one UDP port.
    pub fn udp(name: &str, vip: impl Addresses) -> Self {
        Self::new(name, Transport::Udp, &vip.addresses())
    }

    fn new(name: &str, transport: Transport, vip: &[SocketAddr]) -> Self {
        let cluster_ips: Vec<IpAddr> = vip.iter().map(SocketAddr::ip).collect();
        let service = Self {
            name: name.into(),
            metadata: json!({"name": name}),
            spec: json!({"clusterIP": cluster_ips.first(), "clusterIPs": cluster_ips}),
            status: json!({}),
            ports: Vec::new(),
            endpoints: Vec::new(),
        };
        vip.first().map_or(service.clone(), |first| service.and(transport, first.port()))
    }

    /// The Service's name, and that of its manifest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// With another port. All its ports have the same backends.
    #[must_use]
    pub fn and(mut self, transport: Transport, number: u16) -> Self {
        self.ports.push(Port { transport, number, node_port: None });
        self
    }

    /// With a node port for each of its ports, all of this number.
    #[must_use]
    pub fn node_port(mut self, number: u16) -> Self {
        for port in &mut self.ports {
            port.node_port = Some(number);
        }
        self.spec(json!({"type": "NodePort"}))
    }

    /// With these backends, and no others.
    #[must_use]
    pub fn to<A: Addresses>(mut self, backends: impl IntoIterator<Item = A>) -> Self {
        self.endpoints.clear();
        backends.into_iter().fold(self, |service, backend| service.also(backend, json!({})))
    }

    /// With another backend, of which more is to be said, as in an EndpointSlice.
    #[must_use]
    pub fn also(mut self, backend: impl Addresses, more: Value) -> Self {
        let addresses = backend.addresses().into_iter();
        self.endpoints.extend(addresses.map(|address| (address, more.clone())));
        self
    }

    /// With these fields in `metadata`.
    #[must_use]
    pub fn metadata(mut self, fields: Value) -> Self {
        merge(&mut self.metadata, fields);
        self
    }

    /// With these fields in `spec`.
    #[must_use]
    pub fn spec(mut self, fields: Value) -> Self {
        merge(&mut self.spec, fields);
        self
    }

    /// With these addresses of its load balancer, as in `status.loadBalancer.ingress`.
    #[must_use]
    pub fn ingress(mut self, ingress: Value) -> Self {
        merge(&mut self.status, json!({"loadBalancer": {"ingress": ingress}}));
        self.spec(json!({"type": "LoadBalancer"}))
    }

    /// All of it.
    pub fn text(&self) -> String {
        format!("{}---\n{}", self.object(), self.slices())
    }

    /// The Service alone.
    pub fn object(&self) -> String {
        let ports: Vec<_> = self.ports.iter().map(Port::object).collect();
        let mut spec = self.spec.clone();
        merge(&mut spec, json!({"ports": ports}));
        let kind = json!({"apiVersion": "v1", "kind": "Service"});
        document(kind, json!({"metadata": self.metadata, "spec": spec, "status": self.status}))
    }

    /// Its slices alone: one for each family and port of its backends.
    pub fn slices(&self) -> String {
        let mut slices: BTreeMap<(bool, u16), Vec<Value>> = BTreeMap::new();
        for (backend, more) in &self.endpoints {
            let mut endpoint = json!({"addresses": [backend.ip()]});
            merge(&mut endpoint, more.clone());
            slices.entry((backend.is_ipv4(), backend.port())).or_default().push(endpoint);
        }
        let documents = slices.into_iter().map(|((ipv4, number), endpoints)| {
            let family = if ipv4 { "IPv4" } else { "IPv6" };
            let ports: Vec<_> = self.ports.iter().map(|port| port.in_slice(number)).collect();
            let name = format!("{}-{}-{number}", self.name, family.to_lowercase());
            let labels = json!({"kubernetes.io/service-name": self.name});
            let kind = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"});
            document(
                kind,
                json!({
                    "metadata": {"name": name, "labels": labels},
                    "addressType": family,
                    "ports": ports,
                    "endpoints": endpoints,
                }),
            )
        });
        documents.collect::<Vec<_>>().join("---\n")
    }
}

impl Port {
    fn name(&self) -> String {
        format!("{}-{}", self.protocol().to_lowercase(), self.number)
    }

    fn protocol(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        }
    }

    fn object(&self) -> Value {
        let mut object =
            json!({"name": self.name(), "port": self.number, "protocol": self.protocol()});
        if let Some(node_port) = self.node_port {
            merge(&mut object, json!({"nodePort": node_port}));
        }
        object
    }

    fn in_slice(&self, number: u16) -> Value {
        json!({"name": self.name(), "port": number, "protocol": self.protocol()})
    }
}

/// An object of this kind, as a document of a manifest.
fn document(mut kind: Value, fields: Value) -> String {
    merge(&mut kind, fields);
    format!("{kind}\n")
}

/// Adds fields to an object; of those that it has already, the new ones count.
fn merge(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}
