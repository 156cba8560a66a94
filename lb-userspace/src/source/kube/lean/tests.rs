use k8s_openapi::api::{core::v1::Endpoints, discovery::v1::EndpointSlice};
use kube::{ResourceExt as _, core::WatchEvent};
use serde_json::{Value, json};

use super::*;

fn read<T: Trim>(object: Value) -> T {
    let Lean(object) = serde_json::from_value(object).unwrap();
    object
}

fn metadata() -> Value {
    json!({
        "name": "x", "namespace": "ns", "resourceVersion": "7", "uid": "u",
        "creationTimestamp": "2024-01-01T00:00:00Z",
        "labels": {"kubernetes.io/service-name": "web"},
        "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": {"f:ports": {}}}],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u"}],
    })
}

#[test]
fn of_a_slice_everything_that_the_model_reads_is_kept() {
    let slice: EndpointSlice = read(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata(),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}],
        "endpoints": [
            {
                "addresses": ["10.0.0.1", "10.0.0.2"],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "hostname": "web-0", "nodeName": "here", "zone": "z1",
                "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "here"}]},
                "targetRef": {"kind": "Pod", "name": "web-0", "namespace": "ns", "uid": "u"},
            },
            {"addresses": []},
            {"addresses": null, "conditions": {}},
        ],
    }));
    let [first, second, third] = &slice.endpoints.unwrap()[..] else { panic!("three") };
    assert_eq!(first.addresses, ["10.0.0.1"]);
    assert_eq!(first.node_name.as_deref(), Some("here"));
    assert_eq!(first.conditions.as_ref().unwrap().serving, Some(true));
    let hints = first.hints.as_ref().unwrap();
    assert_eq!(hints.for_zones.as_ref().unwrap()[0].name, "z1");
    assert_eq!(hints.for_nodes.as_ref().unwrap()[0].name, "here");
    assert!(first.target_ref.is_none() && first.hostname.is_none() && first.zone.is_none());
    assert!(second.addresses.is_empty() && third.addresses.is_empty());
    assert_eq!(slice.ports.unwrap()[0].port, Some(8080));
    assert_eq!(slice.address_type, "IPv4");
    let metadata = slice.metadata;
    assert_eq!(metadata.labels.unwrap()["kubernetes.io/service-name"], "web");
    assert_eq!(metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(metadata.uid.as_deref(), Some("u"));
    assert!(metadata.managed_fields.is_none() && metadata.owner_references.is_none());
}

#[test]
fn absent_lists_are_not_empty_ones() {
    let slice: EndpointSlice = read(json!({"metadata": {}, "addressType": "IPv6"}));
    assert!(slice.endpoints.is_none() && slice.ports.is_none());
    let endpoints: Endpoints = read(json!({"metadata": {"name": "x"}}));
    assert!(endpoints.subsets.is_none());
}

#[test]
fn a_service_is_kept_but_for_the_managers_of_its_fields() {
    let service: Service = read(json!({
        "metadata": metadata(),
        "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}], "type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}},
    }));
    assert_eq!(service.spec.unwrap().cluster_ips.unwrap(), ["10.96.0.1"]);
    let status = service.status.unwrap().load_balancer.unwrap();
    assert_eq!(status.ingress.unwrap()[0].ip_mode.as_deref(), Some("VIP"));
    assert!(service.metadata.creation_timestamp.is_some());
    assert!(service.metadata.managed_fields.is_none());
}

#[test]
fn of_nodes_and_pods_only_places_and_addresses_are_kept() {
    let node: Node = read(json!({
        "metadata": {"name": "here", "labels": {"topology.kubernetes.io/zone": "z1"}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            "images": [{"names": ["a"], "sizeBytes": 1}],
        },
    }));
    let status = node.status.clone().unwrap();
    assert_eq!(status.addresses.unwrap()[0].address, "192.0.2.1");
    assert!(status.images.is_none());
    assert_eq!(node.labels()["topology.kubernetes.io/zone"], "z1");
    let pod: Pod = read(json!({
        "metadata": {"name": "p", "namespace": "ns", "annotations": {"socklb.io/opt-out": "true"}},
        "spec": {"nodeName": "here", "hostNetwork": true, "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    }));
    assert_eq!(pod.annotations()["socklb.io/opt-out"], "true");
    let (spec, status) = (pod.spec.unwrap(), pod.status.unwrap());
    assert_eq!((spec.node_name.as_deref(), spec.host_network), (Some("here"), Some(true)));
    assert!(spec.containers.is_empty());
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!((status.pod_ip.as_deref(), status.pod_ips.unwrap().len()), (Some("10.0.0.1"), 1));
}

#[test]
fn of_endpoints_addresses_and_ports_are_kept() {
    let endpoints: Endpoints = read(json!({
        "metadata": metadata(),
        "subsets": [{
            "addresses": [{"ip": "10.0.0.1", "nodeName": "here", "targetRef": {"kind": "Pod"}}],
            "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }],
    }));
    let subset = &endpoints.subsets.unwrap()[0];
    let address = &subset.addresses.as_ref().unwrap()[0];
    assert_eq!((&*address.ip, address.node_name.as_deref()), ("10.0.0.1", Some("here")));
    assert!(address.target_ref.is_none());
    assert_eq!(subset.not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.2");
    assert_eq!(subset.ports.as_ref().unwrap()[0].port, 8080);
}

#[test]
fn an_event_of_a_watch_is_read_in_one_go() {
    let line = json!({"type": "MODIFIED", "object": {"metadata": metadata(), "spec": {}}});
    let event: WatchEvent<Lean<Service>> = serde_json::from_value(line).unwrap();
    let WatchEvent::Modified(service) = event else { panic!("modified") };
    assert_eq!(service.resource_version().as_deref(), Some("7"));
    assert_eq!(Lean::<EndpointSlice>::plural(&()), "endpointslices");
    assert_eq!(Lean::<EndpointSlice>::api_version(&()), "discovery.k8s.io/v1");
}
