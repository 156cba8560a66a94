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
fn point_2_other_proxys_services_are_not_served() {
    let spec = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]});
    for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        let labels = json!({label: ""});
        let mut caller = Caller::with([labelled_service("web", labels.clone(), spec.clone())]);
        assert!(caller.known.is_empty(), "{label}");
        caller.give([service("web", spec.clone())]);
        assert_eq!(caller.frontends(), ["ns/web/TCP"]);
        caller.give([labelled_service("web", labels, spec.clone())]);
        assert!(caller.known.is_empty(), "{label}");
    }
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
fn point_4_only_tcp_is_a_frontend() {
    let ports = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "sig", "port": 9, "protocol": "SCTP"},
        {"port": 0}, {"port": 65536},
        {"name": "again", "port": 53},
    ]);
    let slice_ports = json!([
        {"name": "dns", "port": 1053, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 1054, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 1055},
        {"name": "dns-tcp", "port": 70000},
    ]);
    let caller = Caller::with([
        service("dns", json!({"clusterIP": "10.96.0.10", "ports": ports})),
        slice_with_ports("a", "dns", slice_ports, json!([ready("10.0.0.1")])),
    ]);
    assert_eq!(caller.frontends(), ["ns/dns:dns-tcp/TCP"]);
    assert_eq!(caller.backends("10.96.0.10:53"), ["10.0.0.1:1055"]);
    assert_eq!(caller.said("Service ns/dns: port 53/UDP is not balanced"), 1);
    assert_eq!(caller.said("Service ns/dns: port 9/SCTP is not balanced"), 1);
    assert_eq!(caller.said("Service ns/dns: port 0 is ignored"), 1);
    assert_eq!(caller.said("Service ns/dns: port 65536 is ignored"), 1);
    assert_eq!(caller.said("Service ns/dns: port 53/TCP is there more than once"), 1);
    assert_eq!(caller.said("EndpointSlice ns/a: port 70000 is ignored"), 1);
    assert_eq!(caller.notices.len(), 6);
}

#[test]
fn point_8_cluster_ips_of_each_family() {
    let ports = json!([{"port": 80}]);
    let caller = Caller::with([
        service("a", json!({"clusterIPs": ["fd00::1", "172.30.0.041"], "ports": ports})),
        service("b", json!({"clusterIP": "172.030.0.42", "ports": ports})),
        service("c", json!({"clusterIP": "somewhere", "ports": ports})),
        service("d", json!({"clusterIP": "127.0.0.1", "ports": ports})),
        // The list repeats the single field; it is not another frontend.
        service("e", json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": ports})),
        slice("a-1", "a", json!([ready("010.0.0.001"), ready("10.0.0.1")])),
    ]);
    assert_eq!(caller.frontends(), ["ns/e/TCP", "ns/a/TCP", "ns/b/TCP"]);
    assert_eq!(caller.backends("172.30.0.41:80"), ["10.0.0.1:8080"]);
    assert_eq!(caller.said("Service ns/a: ClusterIP fd00::1 is not balanced"), 1);
    assert_eq!(caller.said("Service ns/c: ClusterIP \"somewhere\" is ignored"), 1);
    assert_eq!(caller.said("Service ns/d: ClusterIP \"127.0.0.1\" is ignored"), 1);
    assert_eq!(caller.notices.len(), 3);
}

#[test]
fn point_18a_the_older_service_has_the_frontend() {
    let spec = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]});
    let at = |time: &str| json!({"creationTimestamp": time});
    let mut caller = Caller::with([
        created_service("a", at("2024-01-02T00:00:00Z"), spec.clone()),
        created_service("b", at("2024-01-01T00:00:00Z"), spec.clone()),
        created_service("c", at("2024-01-02T00:00:00Z"), spec.clone()),
        web("0-of-unknown-age"),
    ]);
    assert_eq!(caller.frontends(), ["ns/b/TCP"]);
    assert_eq!(
        caller.said("Service ns/a: 10.96.0.1:80/TCP is not served, because Service ns/b"),
        1
    );
    assert_eq!(caller.notices.len(), 3);

    // What does not concern the order is no news.
    caller.give([slice("b-1", "b", json!([ready("10.0.0.1")]))]);
    assert_eq!(caller.notices.len(), 3);

    // Nor is, for those that were there, another loser.
    caller.give([created_service("aa", at("2024-01-02T00:00:00Z"), spec)]);
    assert_eq!(
        caller.said("Service ns/aa: 10.96.0.1:80/TCP is not served, because Service ns/b"),
        1
    );
    assert_eq!(caller.notices.len(), 4);
    caller.give([delete(Kind::Service, "aa")]);
    assert_eq!(caller.notices.len(), 4);

    caller.give([delete(Kind::Service, "b")]);
    assert_eq!(caller.frontends(), ["ns/a/TCP"]);
    assert_eq!(
        caller.said("Service ns/c: 10.96.0.1:80/TCP is not served, because Service ns/a"),
        1
    );
    caller.give([delete(Kind::Service, "a"), delete(Kind::Service, "c")]);
    assert_eq!(caller.frontends(), ["ns/0-of-unknown-age/TCP"]);
    caller.give([delete(Kind::Service, "0-of-unknown-age")]);
    assert!(caller.known.is_empty());
}

#[test]
fn point_18a_endpoints_that_are_no_pods_are_dropped() {
    let addresses =
        ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "pod", "::1"];
    let bad: Vec<_> = addresses.iter().map(|address| ready(address)).collect();
    let mut caller = Caller::with([web("web"), slice("a", "web", json!(bad))]);
    assert_eq!(caller.backends("10.96.0.1:80"), [""; 0]);
    for address in addresses {
        let words = format!("EndpointSlice ns/a: endpoint \"{address}\" is dropped, because");
        assert_eq!(caller.said(&words), 1, "{address}");
    }

    // Only what is new is told.
    let more = json!([ready("127.0.0.1"), ready("127.0.0.2"), ready("10.0.0.1")]);
    caller.give([slice("a", "web", more)]);
    assert_eq!(caller.notices.len(), addresses.len() + 1);
    assert_eq!(caller.backends("10.96.0.1:80"), ["10.0.0.1:8080"]);
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
