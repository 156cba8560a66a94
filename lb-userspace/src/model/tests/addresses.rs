//! Points 12, 16 and 17: addresses beside the ClusterIP.

use serde_json::json;

use super::*;

const EXTERNAL: &str = "192.0.2.1:80";
const BALANCER: &str = "198.51.100.1:80";

/// The web Service with the type LoadBalancer, these fields and ingress points.
fn balancer(fields: Value, ingress: Value) -> Event {
    let mut spec =
        json!({"clusterIP": "10.96.0.1", "type": "LoadBalancer", "ports": [{"port": 80}]});
    for (field, value) in fields.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    full_service("web", json!({}), spec, ingress)
}

fn endpoints() -> Event {
    slice("a", "web", json!([ready("10.0.0.1")]))
}

#[test]
fn point_16_external_ips() {
    let addresses = json!(["192.0.2.1", "192.0.2.1", "192.0.2.002"]);
    let mut caller =
        Caller::with([web_plus("web", json!({"externalIPs": addresses})), endpoints()]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP", "192.0.2.1:80/TCP", "192.0.2.2:80/TCP"]);
    assert_eq!(caller.frontend(EXTERNAL).kind, FrontendKind::ExternalIp);
    assert_eq!(&*caller.frontend(EXTERNAL).name, "ns/web/TCP");
    assert_eq!(caller.backends(EXTERNAL), ["10.0.0.1:8080"]);
    assert!(caller.notices.is_empty());
    caller.give([web("web")]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP"]);
}

#[test]
fn point_16_addresses_that_cannot_be_frontends() {
    let addresses = ["127.0.0.1", "169.254.169.254", "elsewhere", "2001:db8::1", "::ffff:8.8.8.8"];
    let caller = Caller::with([web_plus("web", json!({"externalIPs": addresses}))]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP"]);
    for address in addresses {
        let words = format!("Service ns/web: external IP \"{address}\" is ignored, because");
        assert_eq!(caller.said(&words), 1, "{address}");
    }
    assert_eq!(caller.said("no ClusterIP of its family"), 1);
}

#[test]
fn point_16_load_balancer_addresses() {
    let ingress = json!([
        {"ip": "198.51.100.1"},
        {"ip": "198.51.100.2", "ipMode": "VIP"},
        {"ip": "198.51.100.3", "ipMode": "Proxy"},
        {"ip": "198.51.100.4", "ipMode": "of the future"},
        {"hostname": "lb.example.org"},
        {"ip": "", "hostname": "lb.example.org"},
        {"ip": "169.254.0.1"},
    ]);
    let mut caller = Caller::with([balancer(json!({}), ingress.clone()), endpoints()]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP", "198.51.100.1:80/TCP", "198.51.100.2:80/TCP"]);
    assert_eq!(caller.frontend(BALANCER).kind, FrontendKind::LoadBalancer);
    assert_eq!(caller.backends(BALANCER), ["10.0.0.1:8080"]);
    assert_eq!(caller.said("load balancer address \"169.254.0.1\" is ignored"), 1);
    assert_eq!(caller.notices.len(), 1);

    // The status outlives the type for a while.
    caller.give([balancer(json!({"type": "ClusterIP"}), ingress)]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP"]);
}

#[test]
fn point_16_each_family_by_itself() {
    let external = json!({
        "clusterIP": "", "clusterIPs": ["10.96.0.1", "fd00::a"],
        "externalIPs": ["192.0.2.1", "2001:db8::1"],
    });
    let caller = Caller::with([
        web_plus("web", external),
        endpoints(),
        slice6("b", "web", json!([ready("fd00::1")])),
    ]);
    assert_eq!(caller.backends(EXTERNAL), ["10.0.0.1:8080"]);
    assert_eq!(caller.backends("[2001:db8::1]:80"), ["[fd00::1]:8080"]);
}

#[test]
fn point_1_a_service_without_cluster_ip_has_no_other_address() {
    let fields = json!({"clusterIP": "None", "externalIPs": ["192.0.2.1"]});
    let ingress = json!([{"ip": "198.51.100.1"}]);
    let mut caller = Caller::with([balancer(fields.clone(), ingress.clone())]);
    assert!(caller.known.is_empty());
    let mut named = fields;
    named["clusterIP"] = json!("10.96.0.1");
    named["type"] = json!("ExternalName");
    caller.give([balancer(named, ingress)]);
    assert!(caller.known.is_empty() && caller.notices.is_empty());
}

#[test]
fn point_12_policies_bind_the_cluster_ip_alone() {
    let fields = json!({
        "externalIPs": ["192.0.2.1"], "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}],
    });
    let mut here = ready("10.0.0.1");
    here["nodeName"] = json!("here");
    let endpoints = json!([here, ready("10.0.0.2")]);
    let caller = Caller::with([
        local(&["192.168.0.1"]),
        balancer(fields, json!([{"ip": "198.51.100.1"}])),
        slice("a", "web", endpoints),
    ]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    for other in [EXTERNAL, BALANCER, "192.168.0.1:30080"] {
        assert_eq!(caller.backends(other), ["10.0.0.1:8080", "10.0.0.2:8080"], "{other}");
    }
}

#[test]
fn point_13_hints_narrow_every_cluster_wide_set() {
    let hinted = |address: &str, zone: &str| json!({"addresses": [address], "hints": {"forZones": [{"name": zone}]}});
    let mut caller = Caller::with([
        node("here", Some("z1")),
        web_plus("web", json!({"externalIPs": ["192.0.2.1"]})),
        slice("a", "web", json!([hinted("10.0.0.1", "z1"), hinted("10.0.0.2", "z2")])),
    ]);
    assert_eq!(caller.backends(EXTERNAL), ["10.0.0.1:8080"]);
    caller.give([node("here", Some("z2"))]);
    assert_eq!(caller.backends(EXTERNAL), ["10.0.0.2:8080"]);
}

#[test]
fn point_17_source_ranges_leave_the_load_balancers_address_alone() {
    let ingress = json!([{"ip": "198.51.100.1"}]);
    let ranged = |ranges: &[&str]| {
        let fields = json!({"loadBalancerSourceRanges": ranges, "externalIPs": ["192.0.2.1"]});
        balancer(fields, ingress.clone())
    };
    let mut caller = Caller::with([ranged(&["10.0.0.0/8"]), endpoints()]);
    assert!(caller.passes(BALANCER));
    assert!(!caller.passes(EXTERNAL) && !caller.passes(WEB));
    assert_eq!(caller.said("load balancer address 198.51.100.1 is left untranslated"), 1);

    caller.give([ranged(&["10.0.0.0/8", " 0.0.0.0/0 "])]);
    assert_eq!(caller.backends(BALANCER), ["10.0.0.1:8080"]);
    for ranges in [&["nonsense"][..], &["::/0", "nonsense"], &["0.0.0.0/1", "128.0.0.0/1"]] {
        caller.give([ranged(ranges)]);
        assert!(caller.passes(BALANCER), "{ranges:?}");
    }
    caller.give([ranged(&[])]);
    assert_eq!(caller.backends(BALANCER), ["10.0.0.1:8080"]);
}

#[test]
fn point_17_source_ranges_bind_an_address_however_often_it_is_named() {
    let fields = json!({
        "externalIPs": ["198.51.100.1"], "loadBalancerSourceRanges": ["10.0.0.0/8"],
    });
    let caller = Caller::with([balancer(fields, json!([{"ip": "198.51.100.1"}]))]);
    assert!(caller.passes(BALANCER));
    assert_eq!(caller.said("is not served"), 0);
}

#[test]
fn point_17_families_have_ranges_of_their_own() {
    const SIX: &str = "[2001:db8::1]:80";
    let ranged = |ranges: &[&str]| {
        let fields = json!({
            "clusterIP": "", "clusterIPs": ["10.96.0.1", "fd00::a"],
            "loadBalancerSourceRanges": ranges,
        });
        balancer(fields, json!([{"ip": "198.51.100.1"}, {"ip": "2001:db8::1"}]))
    };
    let mut caller = Caller::with([ranged(&["10.0.0.0/8", "::/0"])]);
    assert!(caller.passes(BALANCER) && !caller.passes(SIX));
    assert_eq!(caller.notices.len(), 1);
    for (ranges, passes) in [
        (&["10.0.0.0/8"][..], [true, false]),
        (&["2001:db8::/32"], [false, true]),
        (&["10.0.0.0/8", "2001:db8::/32"], [true, true]),
        (&["0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32"], [false, true]),
    ] {
        caller.give([ranged(ranges)]);
        assert_eq!([caller.passes(BALANCER), caller.passes(SIX)], passes, "{ranges:?}");
    }
}
