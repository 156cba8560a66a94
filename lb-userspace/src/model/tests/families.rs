//! Points 4 and 8: protocols and address families, each by itself.

use serde_json::json;

use super::*;

#[test]
fn point_4_tcp_and_udp_are_frontends_of_their_own() {
    let ports = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "sig", "port": 9, "protocol": "SCTP"},
        {"port": 0}, {"port": 65536},
        {"name": "again", "port": 53},
        {"name": "more", "port": 53, "protocol": "UDP"},
    ]);
    let slice_ports = json!([
        {"name": "dns", "port": 1053, "protocol": "UDP"},
        {"name": "dns", "port": 1, "protocol": "SCTP"},
        {"name": "dns-tcp", "port": 1054, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 1055},
        {"name": "dns-tcp", "port": 70000},
    ]);
    let caller = Caller::with([
        service("dns", json!({"clusterIP": "10.96.0.10", "ports": ports})),
        slice_with_ports("a", "dns", slice_ports, json!([ready("10.0.0.1")])),
    ]);
    assert_eq!(caller.frontends(), ["ns/dns:dns-tcp/TCP", "ns/dns:dns/UDP"]);
    assert_eq!(caller.backends("10.96.0.10:53/TCP"), ["10.0.0.1:1055"]);
    assert_eq!(caller.backends("10.96.0.10:53/UDP"), ["10.0.0.1:1053"]);
    assert_eq!(caller.said("Service ns/dns: port 9/SCTP is not balanced"), 1);
    assert_eq!(caller.said("Service ns/dns: port 0 is ignored"), 1);
    assert_eq!(caller.said("Service ns/dns: port 65536 is ignored"), 1);
    assert_eq!(caller.said("Service ns/dns: port 53/TCP is there more than once"), 1);
    assert_eq!(caller.said("Service ns/dns: port 53/UDP is there more than once"), 1);
    assert_eq!(caller.said("EndpointSlice ns/a: port 70000 is ignored"), 1);
    assert_eq!(caller.notices.len(), 6);
}

#[test]
fn point_4_a_port_of_one_protocol_does_not_answer_the_other() {
    let ports = json!([{"port": 53, "protocol": "UDP"}]);
    let caller = Caller::with([
        service("dns", json!({"clusterIP": "10.96.0.10", "ports": ports})),
        slice("a", "dns", json!([ready("10.0.0.1")])),
    ]);
    assert_eq!(caller.keys(), ["10.96.0.10:53/UDP"]);
    assert_eq!(caller.frontends(), ["ns/dns/UDP"]);
    assert_eq!(caller.backends("10.96.0.10:53/UDP"), NONE, "the slice's port is TCP");
}

#[test]
fn point_8_each_family_has_its_own_endpoints() {
    let addresses = json!(["fd00:10:96::1", "172.30.0.041"]);
    let mut caller = Caller::with([
        service("web", json!({"clusterIPs": addresses, "ports": [{"port": 80}]})),
        slice("four", "web", json!([ready("010.0.0.001"), ready("10.0.0.1")])),
        slice6("six", "web", json!([ready("FD00:0::2"), ready("fd00::1"), ready("fd00::2")])),
    ]);
    let (four, six) = ("172.30.0.41:80", "[fd00:10:96::1]:80");
    assert_eq!(caller.keys(), [format!("{four}/TCP"), format!("{six}/TCP")]);
    assert_eq!(caller.backends(four), ["10.0.0.1:8080"]);
    assert_eq!(caller.backends(six), ["[fd00::1]:8080", "[fd00::2]:8080"]);
    assert!(caller.notices.is_empty());

    // Endpoints of one family never stand in for the other's.
    assert_eq!(caller.give([delete(Kind::EndpointSlice, "six")]), 1);
    assert_eq!(caller.backends(six), NONE);
    assert_eq!(caller.backends(four), ["10.0.0.1:8080"]);

    // A Service may lose a family.
    caller
        .give([service("web", json!({"clusterIPs": ["fd00:10:96::1"], "ports": [{"port": 80}]}))]);
    assert_eq!(caller.keys(), [format!("{six}/TCP")]);
}

#[test]
fn point_8_a_slice_changes_its_family() {
    let addresses = json!(["10.96.0.1", "fd00::a"]);
    let mut caller = Caller::with([
        service("web", json!({"clusterIPs": addresses, "ports": [{"port": 80}]})),
        slice("s", "web", json!([ready("10.0.0.1")])),
    ]);
    caller.give([slice6("s", "web", json!([ready("fd00::1")]))]);
    assert_eq!(caller.backends(WEB), NONE);
    assert_eq!(caller.backends("[fd00::a]:80"), ["[fd00::1]:8080"]);
}

#[test]
fn point_8_addresses_that_cannot_be_frontends() {
    let ports = json!([{"port": 80}]);
    let bad = ["somewhere", "127.0.0.1", "::1", "fe80::1", "::", "::ffff:10.96.0.1", "10.0.0.256"];
    let services = bad.iter().enumerate().map(|(number, address)| {
        let spec = json!({"clusterIPs": [address, "10.96.0.1"], "ports": ports});
        service(&format!("bad-{number}"), spec)
    });
    let mut caller = Caller::with(services);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP"]);
    for (number, address) in bad.iter().enumerate() {
        let words = format!("Service ns/bad-{number}: ClusterIP \"{address}\" is ignored, because");
        assert_eq!(caller.said(&words), 1, "{words}");
    }

    // The list repeats the single field; it is not another frontend. Nor is another notation.
    let spec =
        json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "FD00:0::1"], "ports": ports});
    assert_eq!(caller.give([service("good", spec)]), 1);
}

#[test]
fn point_18a_endpoints_of_ipv6_that_are_no_pods_are_dropped() {
    let addresses = ["::1", "fe80::1", "::", "ff02::1", "::ffff:10.0.0.1", "10.0.0.1", "pod"];
    let mut bad: Vec<_> = addresses.iter().map(|address| ready(address)).collect();
    bad.push(ready("fd00::1"));
    let spec = json!({"clusterIP": "fd00::a", "ports": [{"port": 80}]});
    let caller = Caller::with([service("web", spec), slice6("a", "web", json!(bad))]);
    assert_eq!(caller.backends("[fd00::a]:80"), ["[fd00::1]:8080"]);
    for address in addresses {
        let words = format!("EndpointSlice ns/a: endpoint \"{address}\" is dropped, because");
        assert_eq!(caller.said(&words), 1, "{address}");
    }
}

#[test]
fn point_13_hints_hold_in_each_family_alone() {
    let hinted = |address: &str, zone: &str| json!({"addresses": [address], "hints": {"forZones": [{"name": zone}]}});
    let addresses = json!(["10.96.0.1", "fd00::a"]);
    let caller = Caller::with([
        node("here", Some("z1")),
        service("web", json!({"clusterIPs": addresses, "ports": [{"port": 80}]})),
        slice("four", "web", json!([hinted("10.0.0.1", "z1"), ready("10.0.0.2")])),
        slice6("six", "web", json!([hinted("fd00::1", "z1"), hinted("fd00::2", "z2")])),
    ]);
    assert_eq!(caller.backends(WEB).len(), 2, "one has no hint");
    assert_eq!(caller.backends("[fd00::a]:80"), ["[fd00::1]:8080"]);
}
