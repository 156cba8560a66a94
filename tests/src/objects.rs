//! Typed Kubernetes objects, as events of a source.
//!
//! They must never go through text: where they are used, the agent is measured and not a parser.

use std::net::IpAddr;

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use lb_userspace::{
    model::Protocol,
    source::{Event, Kind, Object, ObjectKey},
};

const NAMESPACE: &str = "lab";
const PORT_NAME: &str = "http";

/// A Service with one port, created or changed.
pub fn service(name: &str, cluster_ip: impl Into<IpAddr>, protocol: Protocol, port: u16) -> Event {
    let cluster_ip = cluster_ip.into();
    Event::Apply(Object::Service(Box::new(Service {
        metadata: metadata(name),
        spec: Some(ServiceSpec {
            cluster_ip: Some(cluster_ip.to_string()),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.into()),
                port: port.into(),
                protocol: Some(protocol.to_string()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })))
}

/// All endpoints of a Service, in one slice, created or changed. They are of one family; without any
/// the slice is of IPv4.
pub fn slice<A: Into<IpAddr>>(
    service: &str,
    addresses: impl IntoIterator<Item = A>,
    protocol: Protocol,
    port: u16,
) -> Event {
    let addresses: Vec<IpAddr> = addresses.into_iter().map(Into::into).collect();
    let family = if addresses.first().is_some_and(IpAddr::is_ipv6) { "IPv6" } else { "IPv4" };
    let labels = [("kubernetes.io/service-name".to_owned(), service.to_owned())];
    let endpoint =
        |address: IpAddr| Endpoint { addresses: vec![address.to_string()], ..Endpoint::default() };
    Event::Apply(Object::EndpointSlice(Box::new(EndpointSlice {
        metadata: ObjectMeta { labels: Some(labels.into()), ..metadata(service) },
        address_type: family.into(),
        endpoints: Some(addresses.into_iter().map(endpoint).collect()),
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.into()),
            port: Some(port.into()),
            protocol: Some(protocol.to_string()),
            ..EndpointPort::default()
        }]),
    })))
}

/// A Service is gone. Its slice stays until it is deleted too.
pub fn delete_service(name: &str) -> Event {
    Event::Delete(ObjectKey { kind: Kind::Service, namespace: NAMESPACE.into(), name: name.into() })
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(NAMESPACE.into()),
        ..ObjectMeta::default()
    }
}
