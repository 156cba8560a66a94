//! A cluster's Services and slices, with everything that `kubectl` and controllers write in them.
//!
//! Nothing may be left out that the agent does not need: reading over it is a part of what is measured.

use anyhow::Result;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::json;

/// Where every endpoint listens.
const PORT: u16 = 8080;

pub(super) fn name(number: u32) -> String {
    format!("service-{number}")
}

pub(super) fn vip(number: u32) -> [u8; 4] {
    let [_, high, middle, low] = (number + 256).to_be_bytes();
    [10, 96 + high, middle, low]
}

/// A Service as `kubectl create` makes it.
pub(super) fn service(number: u32) -> Result<Service> {
    let [a, b, c, d] = vip(number);
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": name(number),
            "labels": {"app": name(number)},
            "managedFields": [{
                "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:ports": {}, "f:selector": {}, "f:type": {}}},
            }],
        },
        "spec": {
            "clusterIP": format!("{a}.{b}.{c}.{d}"),
            "selector": {"app": name(number)},
            "ports": [{"name": "http", "port": 80, "targetPort": PORT}],
        },
    }))?)
}

/// A slice as the endpointslice controller makes it. Each round but 0 has another endpoint in the first
/// one's place.
pub(super) fn slice(service: u32, endpoints: u32, round: u32) -> Result<EndpointSlice> {
    let endpoint = |number: u32| {
        let [_, a, b, c] = (service * endpoints + number).to_be_bytes();
        let network = if number == 0 && round > 0 { 64 + (round % 64) as u8 } else { 0 };
        let pod = format!("{}-7c9f8d6b5-{number:05}", name(service));
        json!({
            "addresses": [format!("10.{}.{b}.{c}", a + network)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", number % 5_000),
            "zone": format!("zone-{}", number % 3),
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": pod,
                "uid": format!("{service:08x}-0000-4000-8000-{number:012x}"),
            },
        })
    };
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": format!("{}-x7k2p", name(service)),
            "generateName": format!("{}-", name(service)),
            "labels": {
                "app": name(service),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": name(service),
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": name(service), "controller": true,
                "blockOwnerDeletion": true, "uid": format!("{service:08x}-0000-4000-8000-000000000000"),
            }],
            "managedFields": [{
                "manager": "kube-controller-manager", "operation": "Update",
                "apiVersion": "discovery.k8s.io/v1", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:addressType": {}, "f:endpoints": {}, "f:ports": {},
                    "f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:app": {}}},
                },
            }],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
    }))?)
}
