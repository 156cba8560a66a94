//! Point 22: backends that no longer serve are told, once, and no others.

use serde_json::json;

use super::*;

fn dns(fields: Value) -> Event {
    let mut spec = json!({
        "clusterIPs": ["10.96.0.10", "fd00::a"],
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    });
    for (field, value) in fields.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    service("dns", spec)
}

fn dns_slice(family: &str, endpoints: Value) -> Event {
    let ports = json!([
        {"name": "dns", "port": 1053, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 1054, "protocol": "TCP"},
    ]);
    let labels = json!({"kubernetes.io/service-name": "dns"});
    full_slice(&format!("dns-{}", family.to_lowercase()), labels, family, ports, endpoints)
}

/// Two backends of IPv4 and one of IPv6.
fn caller(track: Tracked) -> Caller {
    Caller::with_options(
        Options { track, ..Options::default() },
        [
            dns(json!({})),
            dns_slice("IPv4", json!([ready("10.0.0.1"), ready("10.0.0.2")])),
            dns_slice("IPv6", json!([ready("fd00::1")])),
        ],
    )
}

fn retired(caller: &mut Caller) -> Vec<String> {
    std::mem::take(&mut caller.retired)
}

const ALL: [&str; 3] = [
    "ns/dns:dns/UDP 10.0.0.1:1053",
    "ns/dns:dns/UDP 10.0.0.2:1053",
    "ns/dns:dns/UDP [fd00::1]:1053",
];

#[test]
fn point_22_a_backend_that_leaves_a_slice_is_retired() {
    let mut caller = caller(Tracked::Udp);
    assert_eq!(caller.serving.len(), 3);
    assert_eq!(caller.retired, NONE);
    caller.give([dns_slice("IPv4", json!([ready("10.0.0.2")]))]);
    assert_eq!(retired(&mut caller), ALL[..1]);
    caller.give([delete(Kind::EndpointSlice, "dns-ipv6")]);
    assert_eq!(retired(&mut caller), ALL[2..]);
    caller.give([delete(Kind::EndpointSlice, "dns-ipv4")]);
    assert_eq!(retired(&mut caller), ALL[1..2]);
    assert!(caller.serving.is_empty());
}

#[test]
fn point_22_only_tracked_protocols() {
    let gone = || [delete(Kind::EndpointSlice, "dns-ipv6")];
    let mut none = caller(Tracked::None);
    none.give(gone());
    assert_eq!(none.retired, NONE);
    assert!(none.serving.is_empty());
    let mut both = caller(Tracked::UdpAndTcp);
    assert_eq!(both.serving.len(), 6);
    both.give(gone());
    assert_eq!(both.retired, ["ns/dns:dns-tcp/TCP [fd00::1]:1054", ALL[2]]);
}

#[test]
fn point_22_a_service_that_is_served_no_more_retires_all() {
    let flips = [
        delete(Kind::Service, "dns"),
        dns(json!({"type": "ExternalName"})),
        dns(json!({"clusterIPs": ["None"]})),
        dns(json!({"ports": []})),
        dns(json!({"ports": [{"name": "other", "port": 53, "protocol": "UDP"}]})),
        labelled_service(
            "dns",
            json!({"service.kubernetes.io/service-proxy-name": "x"}),
            json!({"clusterIPs": ["10.96.0.10", "fd00::a"],
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ),
    ];
    for flip in flips {
        let mut caller = caller(Tracked::Udp);
        caller.give([flip.clone()]);
        assert_eq!(retired(&mut caller), ALL, "{flip:?}");
        // And they serve again.
        caller.give([dns(json!({}))]);
        assert_eq!(caller.serving.len(), 3);
        assert_eq!(caller.retired, NONE);
    }
    let mut caller = caller(Tracked::Udp);
    caller.give([dns(json!({"clusterIPs": ["10.96.0.10"]}))]);
    assert_eq!(caller.retired, ALL[2..], "a family goes");
}

#[test]
fn point_22_a_backend_that_drains_still_serves() {
    let mut caller = caller(Tracked::Udp);
    let draining = json!({"ready": false, "serving": true, "terminating": true});
    let drains = json!([endpoint("10.0.0.1", draining), ready("10.0.0.2")]);
    assert_eq!(caller.give([dns_slice("IPv4", drains)]), 2);
    assert_eq!(caller.backends("10.96.0.10:53/UDP"), ["10.0.0.2:1053"]);
    assert_eq!(caller.retired, NONE);

    let failed = json!({"ready": false, "serving": false, "terminating": true});
    let fails = json!([endpoint("10.0.0.1", failed), ready("10.0.0.2")]);
    assert_eq!(caller.give([dns_slice("IPv4", fails)]), 0);
    assert_eq!(caller.retired, ALL[..1]);
}

#[test]
fn point_22_other_rules_retire_nothing() {
    let mut caller = caller(Tracked::Udp);
    // Policy, affinity, hints, the addresses that a port has, and other Services.
    caller.give([dns(json!({"internalTrafficPolicy": "Local", "sessionAffinity": "ClientIP"}))]);
    assert_eq!(caller.backends("10.96.0.10:53/UDP"), NONE);
    let hinted = |address: &str, zone: &str| json!({"addresses": [address], "hints": {"forZones": [{"name": zone}]}});
    caller.give([
        node("here", Some("z1")),
        dns(json!({"clusterIPs": ["10.96.0.11", "fd00::a"]})),
        dns_slice("IPv4", json!([hinted("10.0.0.1", "z1"), hinted("10.0.0.2", "z2")])),
    ]);
    assert_eq!(caller.backends("10.96.0.11:53/UDP"), ["10.0.0.1:1053"]);
    let older = json!({"creationTimestamp": "2024-01-01T00:00:00Z"});
    let ports = json!([{"port": 53, "protocol": "UDP"}]);
    caller.give([
        created_service("a", older, json!({"clusterIP": "10.96.0.11", "ports": ports})),
        local(&["fd00::a"]),
    ]);
    assert!(caller.passes("[fd00::a]:53/UDP"));
    // The number that clients use.
    let renumbered = json!([{"name": "dns", "port": 5353, "protocol": "UDP"}]);
    caller.give([dns(json!({"ports": renumbered}))]);
    // From one slice to another.
    let ports = json!([{"name": "dns", "port": 1053, "protocol": "UDP"}]);
    let endpoints = json!([ready("10.0.0.1"), ready("10.0.0.2")]);
    caller.give([slice_with_ports("moved", "dns", ports, endpoints)]);
    caller.give([delete(Kind::EndpointSlice, "dns-ipv4")]);
    assert_eq!(caller.retired, NONE);
    assert_eq!(caller.serving.len(), 3);
}

#[test]
fn point_22_what_is_back_when_changes_are_taken_is_not_told() {
    let mut caller = caller(Tracked::Udp);
    caller.give([
        delete(Kind::EndpointSlice, "dns-ipv6"),
        delete(Kind::Service, "dns"),
        dns_slice("IPv4", json!([])),
        dns_slice("IPv4", json!([ready("10.0.0.2")])),
        dns(json!({})),
        dns_slice("IPv6", json!([ready("fd00::1")])),
    ]);
    assert_eq!(retired(&mut caller), ALL[..1]);
    caller.give([]);
    assert_eq!(caller.retired, NONE);
}

#[test]
fn point_22_another_port_of_the_same_pod_is_another_backend() {
    let mut caller = caller(Tracked::Udp);
    let ports = json!([{"name": "dns", "port": 2053, "protocol": "UDP"}]);
    let labels = json!({"kubernetes.io/service-name": "dns"});
    caller.give([full_slice("dns-ipv6", labels, "IPv6", ports, json!([ready("fd00::1")]))]);
    assert_eq!(caller.retired, ALL[2..]);
    assert!(caller.serving.iter().any(|(_, backend)| backend.to_string() == "[fd00::1]:2053"));
}

#[test]
fn point_26_nothing_serves_or_retires_before_synced() {
    let mut caller = Caller::unsynced(Options { track: Tracked::Udp, ..Options::default() });
    let slice = || dns_slice("IPv4", json!([ready("10.0.0.1")]));
    caller.give([dns(json!({})), slice()]);
    caller.give([delete(Kind::EndpointSlice, "dns-ipv4")]);
    assert!(caller.serving.is_empty());
    caller.give([slice(), Event::Synced]);
    assert_eq!(caller.serving.len(), 1);
    assert_eq!(caller.retired, NONE);
}
