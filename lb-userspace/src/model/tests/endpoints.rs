//! Which endpoints receive connections. Tests are named after the points of the Service semantics
//! that they cover.

use serde_json::json;

use super::*;

/// The web Service with these endpoints in one slice, on node "here" in zone "z1".
fn web_with(endpoints: Value) -> Caller {
    Caller::with([node("here", Some("z1")), web("web"), slice("a", "web", endpoints)])
}

fn on_node(address: &str, node: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "nodeName": node, "conditions": conditions})
}

fn hinted(address: &str, nodes: &[&str], zones: &[&str]) -> Value {
    let names = |list: &[&str]| list.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let hints = json!({"forNodes": names(nodes), "forZones": names(zones)});
    json!({"addresses": [address], "hints": hints})
}

fn unready(mut endpoint: Value) -> Value {
    endpoint["conditions"] = json!({"ready": false});
    endpoint
}

#[test]
fn point_5_the_port_is_the_slices() {
    let spec = json!({
        "clusterIP": "10.96.0.1",
        "ports": [{"name": "http", "port": 80, "targetPort": 9999}],
    });
    let slice_on = |name, port, address| {
        let ports = json!([{"name": "http", "port": port}, {"name": "other", "port": 1}]);
        slice_with_ports(name, "web", ports, json!([ready(address)]))
    };
    let caller = Caller::with([
        service("web", spec),
        slice_on("a", 8080, "10.0.0.1"),
        slice_on("b", 8081, "10.0.0.2"),
    ]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8081"]);
}

#[test]
fn point_6_endpoints_are_the_union_of_slices() {
    let mut caller = Caller::with([
        web("web"),
        slice("b", "web", json!([ready("10.0.0.3"), ready("10.0.0.1"), ready("10.0.0.1")])),
        slice("a", "web", json!([ready("10.0.0.1"), ready("10.0.0.2")])),
    ]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]);
    caller.give([delete(Kind::EndpointSlice, "b")]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    caller.give([delete(Kind::EndpointSlice, "a")]);
    assert_eq!(caller.backends(WEB), NONE);
}

#[test]
fn point_6_a_duplicate_that_does_not_terminate_wins() {
    let ending = || endpoint("10.0.0.1", json!({"ready": false, "terminating": true}));
    for (first, second) in [(ending(), ready("10.0.0.1")), (ready("10.0.0.1"), ending())] {
        let caller = Caller::with([
            web("web"),
            slice("a", "web", json!([first])),
            slice("b", "web", json!([second, ready("10.0.0.2")])),
        ]);
        assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    }

    // Even one that is not ready, so the address is none of the draining ones.
    let caller = Caller::with([
        web("web"),
        slice("a", "web", json!([ending()])),
        slice("b", "web", json!([endpoint("10.0.0.1", json!({"ready": false}))])),
    ]);
    assert_eq!(caller.backends(WEB), NONE);
}

#[test]
fn point_9_absent_conditions() {
    let caller = web_with(json!([
        {"addresses": ["10.0.0.1"]},
        endpoint("10.0.0.2", json!({})),
        endpoint("10.0.0.3", json!({"ready": false})),
    ]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);

    // Serving unless it says otherwise.
    let caller = web_with(json!([
        endpoint("10.0.0.1", json!({"ready": false, "terminating": true})),
        endpoint("10.0.0.2", json!({"ready": false, "terminating": true, "serving": false})),
    ]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
}

#[test]
fn point_10_terminating_only_when_none_ready() {
    let draining = json!({"ready": false, "serving": true, "terminating": true});
    let mut caller = web_with(json!([ready("10.0.0.1"), endpoint("10.0.0.2", draining.clone())]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);

    let unready = json!({"ready": false, "serving": true, "terminating": false});
    let endpoints = json!([endpoint("10.0.0.1", unready), endpoint("10.0.0.2", draining)]);
    caller.give([slice("a", "web", endpoints)]);
    assert_eq!(caller.backends(WEB), ["10.0.0.2:8080"]);
}

#[test]
fn point_10_publish_not_ready_addresses_is_not_read() {
    let spec = json!({
        "clusterIP": "10.96.0.1", "ports": [{"port": 80}], "publishNotReadyAddresses": true,
    });
    let endpoints = json!([endpoint("10.0.0.1", json!({"ready": false}))]);
    let caller = Caller::with([service("web", spec), slice("a", "web", endpoints)]);
    assert_eq!(caller.backends(WEB), NONE);
}

#[test]
fn point_11_internal_traffic_policy_local() {
    let policy = |policy| {
        let ports = json!([{"port": 80}]);
        let address = "10.96.0.1";
        let spec = json!({"clusterIP": address, "internalTrafficPolicy": policy, "ports": ports});
        service("web", spec)
    };
    let endpoints = json!([
        on_node("10.0.0.1", "here", json!({"ready": true})),
        on_node("10.0.0.2", "there", json!({"ready": true})),
        ready("10.0.0.3"),
    ]);
    let mut caller = Caller::with([policy("Local"), slice("a", "web", endpoints.clone())]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    caller.give([policy("Cluster")]);
    assert_eq!(caller.backends(WEB).len(), 3);
    caller.give([policy("Local")]);

    // Draining endpoints count for the local set on its own, whatever is ready elsewhere.
    let draining = json!({"ready": false, "terminating": true});
    let endpoints = json!([
        on_node("10.0.0.1", "here", draining),
        on_node("10.0.0.2", "there", json!({"ready": true})),
    ]);
    caller.give([slice("a", "web", endpoints)]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);

    // Endpoints elsewhere only: refused (point 19).
    caller.give([slice("a", "web", json!([on_node("10.0.0.2", "there", json!({}))]))]);
    assert_eq!(caller.backends(WEB), NONE);
    assert!(caller.notices.is_empty());

    let nowhere = json!([ready("10.0.0.1"), on_node("10.0.0.2", "", json!({"ready": true}))]);
    let mut nameless = Caller::new(None);
    nameless.give([policy("Local"), slice("a", "web", nowhere), Event::Synced]);
    assert_eq!(nameless.backends(WEB), NONE);
    assert_eq!(nameless.said("the name of this node is not known"), 1);
}

#[test]
fn point_13_node_hints() {
    let near = hinted("10.0.0.1", &["there", "here"], &["z2"]);
    let far = hinted("10.0.0.2", &["there"], &["z1"]);
    let caller = web_with(json!([near, far]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);

    // One ready endpoint lacks node hints, but not zone hints.
    let caller = web_with(json!([near, far, hinted("10.0.0.3", &[], &["z1"])]));
    assert_eq!(caller.backends(WEB), ["10.0.0.2:8080", "10.0.0.3:8080"]);

    // No hint names this node, nor this zone.
    let caller = web_with(json!([
        hinted("10.0.0.1", &["there"], &["z2"]),
        hinted("10.0.0.2", &["there"], &["z2"]),
    ]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[test]
fn point_13_zone_hints() {
    let near = hinted("10.0.0.1", &[], &["z1"]);
    let both = hinted("10.0.0.2", &[], &["z2", "z1"]);
    let far = hinted("10.0.0.3", &[], &["z2"]);
    let caller = web_with(json!([near, both, far]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);

    // Unready endpoints take no part in the decision.
    let caller = web_with(json!([near, far, unready(json!({"addresses": ["10.0.0.4"]}))]));
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    let caller = web_with(json!([unready(near.clone()), far]));
    assert_eq!(caller.backends(WEB), ["10.0.0.3:8080"]);

    // A ready one without a hint does.
    let caller = web_with(json!([near, far, ready("10.0.0.4")]));
    assert_eq!(caller.backends(WEB).len(), 3);
}

#[test]
fn point_13_the_zone_is_live() {
    let endpoints = json!([hinted("10.0.0.1", &[], &["z1"]), hinted("10.0.0.2", &[], &["z2"])]);
    let mut caller = web_with(endpoints);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    caller.give([node("here", Some("z2"))]);
    assert_eq!(caller.backends(WEB), ["10.0.0.2:8080"]);
    assert_eq!(caller.give([node("there", Some("z1"))]), 0);
    caller.give([node("here", None)]);
    assert_eq!(caller.backends(WEB).len(), 2);
    caller.give([node("here", Some("z1"))]);
    assert_eq!(caller.give([delete(Kind::Node, "there")]), 0);
    caller.give([delete(Kind::Node, "here")]);
    assert_eq!(caller.backends(WEB).len(), 2);
}

#[test]
fn point_13_hints_never_narrow_the_local_set() {
    let local = |address: &str, zone: &str| {
        let mut endpoint = hinted(address, &[], &[zone]);
        endpoint["nodeName"] = json!("here");
        endpoint
    };
    let spec = json!({
        "clusterIP": "10.96.0.1", "internalTrafficPolicy": "Local", "ports": [{"port": 80}],
    });
    let endpoints = json!([local("10.0.0.1", "z1"), local("10.0.0.2", "z2")]);
    let mut caller = web_with(endpoints);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    caller.give([service("web", spec)]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[test]
fn point_14_each_backend_once() {
    let ports = json!([{"name": "", "port": 8080}, {"name": "", "port": 8080}]);
    let endpoints = json!([ready("10.0.0.2"), ready("10.0.0.1")]);
    let caller = Caller::with([
        web("web"),
        slice_with_ports("a", "web", ports, endpoints.clone()),
        slice("b", "web", endpoints),
    ]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}
