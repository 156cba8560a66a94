//! Which objects count, which frontends they make, and who has them. Tests are named after the
//! points of the Service semantics that they cover.

use serde_json::json;

use super::*;

#[test]
fn point_1_headless_and_external_name_have_no_frontend() {
    let ports = json!([{"port": 80}]);
    let mut caller = Caller::with([
        service("a", json!({"clusterIP": "None", "ports": ports})),
        service("b", json!({"clusterIP": "", "ports": ports})),
        service("c", json!({"clusterIPs": ["None"], "ports": ports})),
        service("d", json!({"clusterIP": "10.96.0.4", "type": "ExternalName", "ports": ports})),
        service("e", json!({"ports": ports})),
    ]);
    assert!(caller.known.is_empty());
    assert!(caller.notices.is_empty());

    caller.give([service("d", json!({"clusterIP": "10.96.0.4", "ports": ports}))]);
    assert_eq!(caller.frontends(), ["ns/d/TCP"]);
    caller.give([service("d", json!({"type": "ExternalName", "ports": ports}))]);
    assert!(caller.known.is_empty());
}

#[test]
fn point_3_slices_that_do_not_count() {
    let ports = json!([{"name": "", "port": 8080}]);
    let name = json!({"kubernetes.io/service-name": "web"});
    let headless = json!({
        "kubernetes.io/service-name": "web", "service.kubernetes.io/headless": "",
    });
    let of_another = json!({
        "kubernetes.io/service-name": "web", "service.kubernetes.io/service-proxy-name": "x",
    });
    let endpoints = json!([ready("10.0.0.1")]);
    let mut caller = Caller::with([
        web("web"),
        full_slice("d", of_another, "IPv4", ports.clone(), endpoints.clone()),
        full_slice("a", headless.clone(), "IPv4", ports.clone(), endpoints.clone()),
        full_slice("b", name.clone(), "FQDN", ports.clone(), json!([ready("example.org")])),
        full_slice("c", json!({}), "IPv4", ports.clone(), endpoints.clone()),
    ]);
    assert_eq!(caller.backends("10.96.0.1:80"), [""; 0]);

    // A slice begins to count, and stops.
    caller.give([full_slice("a", name, "IPv4", ports.clone(), endpoints.clone())]);
    assert_eq!(caller.backends("10.96.0.1:80"), ["10.0.0.1:8080"]);
    caller.give([full_slice("a", headless, "IPv4", ports, endpoints)]);
    assert_eq!(caller.backends("10.96.0.1:80"), [""; 0]);
}

#[test]
fn point_3_ports_and_endpoints_that_do_not_count() {
    let ports =
        json!([{"port": 1}, {"name": ""}, {"name": "", "port": 0}, {"name": "", "port": 2}]);
    let endpoints = json!([
        {"addresses": []},
        {"addresses": ["10.0.0.1", "10.0.0.2"]},
    ]);
    let caller = Caller::with([web("web"), slice_with_ports("a", "web", ports, endpoints)]);
    assert_eq!(caller.backends("10.96.0.1:80"), ["10.0.0.1:2"]);
}

#[test]
fn point_3_a_slice_moves_to_another_service() {
    let other = service("other", json!({"clusterIP": "10.96.0.2", "ports": [{"port": 80}]}));
    let endpoints = json!([ready("10.0.0.1")]);
    let mut caller = Caller::with([web("web"), other, slice("a", "web", endpoints.clone())]);
    assert_eq!(caller.give([slice("a", "other", endpoints)]), 2);
    assert_eq!(caller.backends("10.96.0.1:80"), [""; 0]);
    assert_eq!(caller.backends("10.96.0.2:80"), ["10.0.0.1:8080"]);
}

#[test]
fn point_19_a_frontend_without_endpoints_stays() {
    let mut caller = Caller::with([web("web"), slice("a", "web", json!([ready("10.0.0.1")]))]);
    caller.give([delete(Kind::EndpointSlice, "a")]);
    assert_eq!(caller.frontends(), ["ns/web/TCP"]);
    assert_eq!(caller.backends("10.96.0.1:80"), [""; 0]);
}

#[test]
fn point_26_nothing_before_synced() {
    let mut caller = Caller::new(None);
    assert_eq!(caller.give([web("web"), web("other")]), 0);
    assert_eq!(caller.give([slice("a", "web", json!([ready("127.0.0.1")]))]), 0);
    assert!(caller.notices.is_empty());
    assert_eq!(caller.give([Event::Synced]), 1);
    assert_eq!(caller.notices.len(), 2);
}

#[test]
fn point_29_changes_are_folded() {
    let mut caller = Caller::with([web("web"), slice("a", "web", json!([ready("10.0.0.1")]))]);
    // Deleted and made again within one batch.
    assert_eq!(caller.give([delete(Kind::Service, "web"), web("web")]), 0);
    // Applied again without a difference.
    assert_eq!(caller.give([web("web"), slice("a", "web", json!([ready("10.0.0.1")]))]), 0);
    // Created and deleted within one batch.
    let spec = json!({"clusterIP": "10.96.0.2", "ports": [{"port": 80}]});
    assert_eq!(caller.give([service("x", spec), delete(Kind::Service, "x")]), 0);
    // Deleted once, told once.
    assert_eq!(caller.give([delete(Kind::Service, "web")]), 1);
    assert_eq!(caller.give([delete(Kind::Service, "web")]), 0);
    assert_eq!(caller.give([delete(Kind::EndpointSlice, "a")]), 0);
    assert!(caller.model.services.is_empty() && caller.model.owners.is_empty());
}

#[test]
fn point_29_ports_are_added_removed_and_renamed() {
    let with_ports = |ports| service("web", json!({"clusterIP": "10.96.0.1", "ports": ports}));
    let slice_ports = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]);
    let mut caller = Caller::with([
        with_ports(json!([{"name": "a", "port": 80}])),
        slice_with_ports("s", "web", slice_ports, json!([ready("10.0.0.1")])),
    ]);
    assert_eq!(caller.backends("10.96.0.1:80"), ["10.0.0.1:1"]);
    caller.give([with_ports(json!([{"name": "b", "port": 80}]))]);
    assert_eq!(caller.frontends(), ["ns/web:b/TCP"]);
    assert_eq!(caller.backends("10.96.0.1:80"), ["10.0.0.1:2"]);
    caller.give([with_ports(json!([{"name": "b", "port": 81}, {"name": "a", "port": 80}]))]);
    assert_eq!(caller.frontends(), ["ns/web:a/TCP", "ns/web:b/TCP"]);
    assert_eq!(caller.backends("10.96.0.1:81"), ["10.0.0.1:2"]);
    assert_eq!(caller.give([with_ports(json!([{"name": "a", "port": 80}]))]), 1);
    assert_eq!(caller.frontends(), ["ns/web:a/TCP"]);
}
