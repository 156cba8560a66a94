//! Points 18, 18a and 18b: who may have an address, and which addresses are left alone.

use serde_json::json;

use super::*;

const PROXY: &str = "service.kubernetes.io/service-proxy-name";

/// A Service with the one port 80 at a ClusterIP that names further addresses.
fn naming(name: &str, cluster_ip: &str, external_ips: &[&str]) -> Event {
    let ports = json!([{"port": 80}]);
    service(name, json!({"clusterIP": cluster_ip, "externalIPs": external_ips, "ports": ports}))
}

#[test]
fn point_2_and_18_other_proxys_services_are_known_and_pass() {
    let spec = json!({
        "clusterIPs": ["10.96.0.1", "fd00::a"], "type": "NodePort", "externalIPs": ["192.0.2.1"],
        "ports": [{"port": 80, "nodePort": 30080}],
    });
    let marks = ["10.96.0.1:0/any", "[fd00::a]:0/any"];
    for label in [PROXY, "service.kubernetes.io/headless"] {
        let labels = json!({label: ""});
        let theirs = || labelled_service("web", labels.clone(), spec.clone());
        let mut caller = Caller::with([local(&["192.168.0.1"]), theirs()]);
        assert_eq!(caller.keys(), marks, "{label}");
        assert_eq!(caller.frontends(), ["ns/web", "ns/web"]);
        assert_eq!(caller.frontend(marks[0]).kind, FrontendKind::Known);
        assert!(caller.passes(marks[0]) && caller.passes(marks[1]));

        caller.give([service("web", spec.clone())]);
        assert_eq!(
            caller.keys(),
            ["10.96.0.1:80/TCP", "192.0.2.1:80/TCP", "192.168.0.1:30080/TCP", "[fd00::a]:80/TCP"]
        );
        caller.give([theirs()]);
        assert_eq!(caller.keys(), marks, "{label}");
        caller.give([delete(Kind::Service, "web")]);
        assert!(caller.known.is_empty() && caller.notices.is_empty());
    }
}

#[test]
fn point_18_what_has_no_cluster_ip_has_no_mark() {
    let ports = json!([{"port": 80}]);
    let labels = json!({PROXY: "x"});
    let caller = Caller::with([
        labelled_service("a", labels.clone(), json!({"clusterIP": "None", "ports": ports})),
        labelled_service("b", labels, json!({"type": "ExternalName", "clusterIP": "10.96.0.2"})),
    ]);
    assert!(caller.known.is_empty());
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
fn point_18a_a_cluster_ip_comes_before_older_claims_of_other_kinds() {
    let at = |time: &str| json!({"creationTimestamp": time});
    let spec = json!({
        "clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 1, "nodePort": 80}],
    });
    let mut caller = Caller::with([
        local(&["10.96.0.1"]),
        created_service("old", at("2020-01-01T00:00:00Z"), spec),
    ]);
    assert_eq!(&*caller.frontend(WEB).name, "ns/old/TCP");
    caller.give([web("web")]);
    assert_eq!(&*caller.frontend(WEB).name, "ns/web/TCP");
    caller.give([delete(Kind::Service, "web")]);
    assert_eq!(&*caller.frontend(WEB).name, "ns/old/TCP");
}

#[test]
fn point_18a_no_named_address_takes_over_a_cluster_ip() {
    let mut caller = Caller::with([naming("evil", "10.96.0.66", &["10.96.0.1", "192.0.2.1"])]);
    assert_eq!(&*caller.frontend(WEB).name, "ns/evil/TCP");

    // Whatever the port that the ClusterIP's Service has, and whoever serves it.
    let others = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 443}]});
    let words = "Service ns/evil: external IP \"10.96.0.1\" is ignored, because it is a ClusterIP";
    for (times, labels) in [json!({}), json!({PROXY: "x"})].into_iter().enumerate() {
        caller.give([labelled_service("victim", labels, others.clone())]);
        assert!(!caller.known.contains_key(&key(WEB)));
        assert_eq!(caller.said(words), times + 1);
        assert!(caller.known.contains_key(&key("192.0.2.1:80")));
        caller.give([delete(Kind::Service, "victim")]);
        assert_eq!(&*caller.frontend(WEB).name, "ns/evil/TCP");
    }
    assert_eq!(caller.notices.len(), 2);
}

#[test]
fn point_18a_no_named_address_is_the_api_servers_or_the_nodes() {
    let protected = ["203.0.113.1", "::ffff:203.0.113.2"].map(|ip| ip.parse().expect("an address"));
    let options = Options { protected: protected.to_vec(), ..Options::default() };
    let spec = json!({
        "clusterIPs": ["10.96.0.1", "fd00::a"], "type": "LoadBalancer",
        "externalIPs": ["203.0.113.1", "203.0.113.2"], "ports": [{"port": 80}],
    });
    let ingress = json!([{"ip": "192.168.0.1"}, {"ip": "2001:db8::1"}, {"ip": "198.51.100.1"}]);
    let event = full_service("web", json!({}), spec, ingress);
    let mut caller = Caller::with_options(options, [event]);
    let known = |caller: &Caller, address: &str| caller.known.contains_key(&key(address));
    assert!(!known(&caller, "203.0.113.1:80") && !known(&caller, "203.0.113.2:80"));
    assert_eq!(caller.said("is ignored, because it is an address of the API server"), 2);
    assert!(known(&caller, "192.168.0.1:80") && known(&caller, "[2001:db8::1]:80"));

    assert_eq!(caller.give([local(&["192.168.0.1", "2001:db8::1"])]), 2);
    assert!(!known(&caller, "192.168.0.1:80") && !known(&caller, "[2001:db8::1]:80"));
    assert!(known(&caller, "198.51.100.1:80"));
    assert_eq!(caller.said("load balancer address \"192.168.0.1\" is ignored"), 1);
    assert_eq!(caller.give([local(&["192.168.0.1"])]), 1);
    assert!(known(&caller, "[2001:db8::1]:80") && !known(&caller, "192.168.0.1:80"));
    assert_eq!(caller.notices.len(), 4, "what goes on is no news");
}

#[test]
fn point_18a_the_api_servers_address_may_be_a_cluster_ip() {
    let options = Options { protected: vec!["10.96.0.1".parse().unwrap()], ..Options::default() };
    let caller = Caller::with_options(options, [web("kubernetes")]);
    assert_eq!(caller.backends(WEB), NONE);
    assert!(caller.notices.is_empty());
}

#[test]
fn point_18a_a_claim_that_is_not_allowed_stands_in_nobodys_way() {
    let mut caller = Caller::with([
        local(&["192.168.0.1"]),
        naming("a", "10.96.0.2", &["192.168.0.1"]),
        service(
            "b",
            json!({"clusterIP": "10.96.0.3", "type": "NodePort",
                "ports": [{"port": 1, "nodePort": 80}]}),
        ),
    ]);
    assert_eq!(&*caller.frontend("192.168.0.1:80").name, "ns/b/TCP");
    assert_eq!(caller.said("is not served, because Service"), 0);
    caller.give([local(&[])]);
    assert_eq!(&*caller.frontend("192.168.0.1:80").name, "ns/a/TCP");
    caller.give([local(&["192.168.0.1"])]);
    assert_eq!(&*caller.frontend("192.168.0.1:80").name, "ns/b/TCP");
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
