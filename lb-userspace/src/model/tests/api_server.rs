//! Points 18a and 28: the API server's Service keeps what it knows, and nobody takes its endpoints
//! over, nor the addresses that the node's object has.

use serde_json::json;

use super::*;

const API: &str = "10.96.0.250:443";
const API6: &str = "[fd00::250]:443";

fn four(endpoints: Value) -> Event {
    kubernetes_slice("four", "IPv4", endpoints)
}

fn gone(kind: Kind, name: &str) -> Event {
    delete_in("default", kind, name)
}

/// Two endpoints of IPv4 and one of IPv6.
fn caller(track: Tracked) -> Caller {
    Caller::with_options(
        Options { track, ..Options::default() },
        [
            kubernetes(json!({})),
            four(json!([ready("192.0.2.1"), ready("192.0.2.2")])),
            kubernetes_slice("six", "IPv6", json!([ready("2001:db8::1")])),
        ],
    )
}

/// A Service that names an address.
fn thief(address: &str) -> Event {
    let cluster_ips = json!(["10.96.0.9", "fd00::9"]);
    let ports = json!([{"port": 6443}]);
    let spec = json!({"clusterIPs": cluster_ips, "externalIPs": [address], "ports": ports});
    service("thief", spec)
}

/// Whether the thief has it.
fn taken(caller: &Caller, address: &str) -> bool {
    caller.known.contains_key(&key(&format!("{address}:6443")))
}

#[test]
fn point_28_the_last_known_backends_are_never_dropped_to_zero() {
    let failed = |address| endpoint(address, json!({"ready": false, "serving": false}));
    let ways: [Vec<Event>; 4] = [
        vec![four(json!([]))],
        vec![gone(Kind::EndpointSlice, "four")],
        vec![four(json!([failed("192.0.2.1"), failed("192.0.2.2")]))],
        vec![four(json!([ready("127.0.0.1")]))],
    ];
    for way in ways {
        let mut caller = caller(Tracked::None);
        assert_eq!(caller.give(way.clone()), 0, "{way:?}");
        assert_eq!(caller.backends(API), ["192.0.2.1:6443", "192.0.2.2:6443"]);
        assert_eq!(caller.said("last known"), 1);
        // Whatever else happens to it.
        caller.give([kubernetes(json!({"sessionAffinity": "ClientIP"}))]);
        assert_eq!(caller.backends(API), ["192.0.2.1:6443", "192.0.2.2:6443"]);
        // One is enough to follow again.
        caller.give([four(json!([ready("192.0.2.3")]))]);
        assert_eq!(caller.backends(API), ["192.0.2.3:6443"]);
        caller.give([four(json!([]))]);
        assert_eq!(caller.backends(API), ["192.0.2.3:6443"]);
        assert_eq!(caller.said("last known"), 2);
    }
}

#[test]
fn point_28_families_and_ports_are_apart() {
    let mut caller = caller(Tracked::None);
    caller.give([gone(Kind::EndpointSlice, "six"), four(json!([ready("192.0.2.3")]))]);
    assert_eq!(caller.backends(API), ["192.0.2.3:6443"]);
    assert_eq!(caller.backends(API6), ["[2001:db8::1]:6443"]);
    // A port that never had any has none, and another one does not lend it its own.
    let ports = json!([{"name": "other", "port": 80}, {"name": "https", "port": 443}]);
    caller.give([kubernetes(json!({"ports": ports})), four(json!([]))]);
    assert_eq!(caller.backends("10.96.0.250:80"), NONE);
    assert_eq!(caller.backends(API), ["192.0.2.3:6443"]);
    // A family that goes is forgotten.
    caller.give([kubernetes(json!({"clusterIPs": ["10.96.0.250"]}))]);
    caller.give([kubernetes(json!({}))]);
    assert_eq!(caller.backends(API6), NONE);
}

#[test]
fn point_28_what_was_known_between_two_takings_counts() {
    let mut caller = caller(Tracked::None);
    caller.give([four(json!([ready("192.0.2.3")])), four(json!([]))]);
    assert_eq!(caller.backends(API), ["192.0.2.3:6443"]);
    // Before everything is listed as well.
    let mut caller = Caller::unsynced(Options::default());
    caller.give([kubernetes(json!({})), four(json!([ready("192.0.2.1")])), four(json!([]))]);
    caller.give([Event::Synced]);
    assert_eq!(caller.backends(API), ["192.0.2.1:6443"]);
}

#[test]
fn point_28_only_while_the_service_exists() {
    let mut caller = caller(Tracked::None);
    caller.give([four(json!([])), gone(Kind::Service, "kubernetes")]);
    assert!(caller.known.is_empty());
    caller.give([kubernetes(json!({}))]);
    assert_eq!(caller.backends(API), NONE);
    assert_eq!(caller.backends(API6), ["[2001:db8::1]:6443"]);
}

#[test]
fn point_28_other_services_are_dropped_to_zero() {
    let here = || slice("kubernetes", "kubernetes", json!([ready("10.0.0.1")]));
    let mut caller = Caller::with([web("kubernetes"), here()]);
    caller.give([delete(Kind::EndpointSlice, "kubernetes")]);
    assert_eq!(caller.backends(WEB), NONE);
    assert!(caller.notices.is_empty());
}

#[test]
fn point_28_the_local_set_is_kept_by_itself() {
    let local = json!({"internalTrafficPolicy": "Local", "externalIPs": ["198.51.100.1"]});
    let mut here = ready("192.0.2.1");
    here["nodeName"] = json!("here");
    let endpoints = json!([here, ready("192.0.2.2")]);
    let mut caller = Caller::with([kubernetes(local), four(endpoints)]);
    caller.give([four(json!([ready("192.0.2.2")]))]);
    assert_eq!(caller.backends(API), ["192.0.2.1:6443"]);
    assert_eq!(caller.backends("198.51.100.1:443"), ["192.0.2.2:6443"]);
}

#[test]
fn point_28_what_is_kept_is_not_retired_before_it_is_replaced() {
    let mut caller = caller(Tracked::UdpAndTcp);
    let https = |address| format!("default/kubernetes:https/TCP {address}");
    caller.give([four(json!([ready("192.0.2.2")]))]);
    assert_eq!(std::mem::take(&mut caller.retired), [https("192.0.2.1:6443")]);
    caller.give([four(json!([]))]);
    caller.give([gone(Kind::EndpointSlice, "four")]);
    assert_eq!(caller.retired, NONE);
    caller.give([four(json!([ready("192.0.2.3")]))]);
    assert_eq!(std::mem::take(&mut caller.retired), [https("192.0.2.2:6443")]);
    caller.give([gone(Kind::EndpointSlice, "four"), gone(Kind::Service, "kubernetes")]);
    assert_eq!(caller.retired, [https("192.0.2.3:6443"), https("[2001:db8::1]:6443")]);
}

#[test]
fn point_18a_the_api_servers_endpoints_are_protected_as_they_come_and_go() {
    for address in ["192.0.2.7", "2001:db8::7"] {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        let bracketed = if address.contains(':') { format!("[{address}]") } else { address.into() };
        let endpoints = |endpoints: Value| kubernetes_slice("more", family, endpoints);
        let mut caller = caller(Tracked::None);
        caller.give([thief(address)]);
        assert!(taken(&caller, &bracketed));
        // Whatever its conditions are.
        caller.give([endpoints(json!([endpoint(address, json!({"ready": false}))]))]);
        assert!(!taken(&caller, &bracketed));
        let words =
            format!("external IP \"{address}\" is ignored, because it is an address of the API");
        assert_eq!(caller.said(&words), 1);
        assert_eq!(caller.give([endpoints(json!([]))]), 1, "the thief's address, nothing else");
        assert!(taken(&caller, &bracketed));
        caller.give([endpoints(json!([ready(address)]))]);
        assert!(!taken(&caller, &bracketed));
    }
}

#[test]
fn point_18a_endpoints_that_are_kept_stay_protected() {
    let mut caller = caller(Tracked::None);
    caller.give([thief("192.0.2.1")]);
    assert!(!taken(&caller, "192.0.2.1"));
    caller.give([gone(Kind::EndpointSlice, "four")]);
    assert!(!taken(&caller, "192.0.2.1"));
    caller.give([four(json!([ready("192.0.2.3")]))]);
    assert!(taken(&caller, "192.0.2.1"));
    caller.give([four(json!([ready("192.0.2.1")]))]);
    assert!(!taken(&caller, "192.0.2.1"));
    caller.give([gone(Kind::Service, "kubernetes"), gone(Kind::EndpointSlice, "four")]);
    assert!(taken(&caller, "192.0.2.1"));
}

#[test]
fn point_18a_addresses_of_the_nodes_object_are_protected_as_they_come_and_go() {
    let external = || json!([{"type": "ExternalIP", "address": "203.0.113.9"}]);
    let mut caller = Caller::with([thief("203.0.113.9")]);
    assert!(taken(&caller, "203.0.113.9"));
    // Another node's are not, nor are names.
    caller.give([stated_node("there", external())]);
    caller.give([stated_node("here", json!([{"type": "Hostname", "address": "203.0.113.9"}]))]);
    assert!(taken(&caller, "203.0.113.9"));
    for change in [stated_node("here", json!([])), delete(Kind::Node, "here")] {
        caller.give([stated_node("here", external())]);
        assert!(!taken(&caller, "203.0.113.9"));
        assert_eq!(caller.give([change]), 1);
        assert!(taken(&caller, "203.0.113.9"));
    }
    assert_eq!(caller.said("it is an address of this node"), 2);
    caller.give([stated_node("here", json!([{"type": "InternalIP", "address": "203.0.113.9"}]))]);
    assert!(!taken(&caller, "203.0.113.9"));
}

#[test]
fn point_18a_the_nodes_object_moves_no_node_port_and_keeps_no_cluster_ip() {
    let addresses = json!([
        {"type": "InternalIP", "address": "10.96.0.1"},
        {"type": "ExternalIP", "address": "203.0.113.9"},
    ]);
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    let caller = Caller::with([
        stated_node("here", addresses),
        web_plus("web", json!({"type": "NodePort", "ports": ports})),
    ]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP"]);
    assert!(!caller.passes(WEB));
}
