//! Point 18b: ClusterIPs that an interface of the node has.

use serde_json::json;

use super::*;

fn dns() -> [Event; 2] {
    let spec = json!({"clusterIPs": ["10.96.0.1", "fd00::a"], "ports": [{"port": 80}]});
    [service("dns", spec), slice("a", "dns", json!([ready("10.0.0.1")]))]
}

#[test]
fn point_18b_a_cluster_ip_on_a_local_interface_is_left_alone() {
    let mut caller = Caller::with(dns());
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    caller.give([local(&["10.96.0.1", "192.168.0.1"])]);
    assert!(caller.passes(WEB));
    assert!(!caller.passes("[fd00::a]:80"));
    assert_eq!(caller.said("Service ns/dns: ClusterIP 10.96.0.1 is left untranslated"), 1);

    // Whatever listens there, on any port: it must not be refused.
    assert_eq!(caller.frontend("10.96.0.1:0/any").kind, FrontendKind::Known);
    assert_eq!(caller.keys(), ["10.96.0.1:0/any", "10.96.0.1:80/TCP", "[fd00::a]:80/TCP"]);

    assert_eq!(caller.give([local(&["10.96.0.1"])]), 0);
    assert_eq!(caller.notices.len(), 1);
    caller.give([local(&["fd00::a"])]);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    assert!(caller.passes("[fd00::a]:80"));
    caller.give([delete(Kind::Service, "dns")]);
    assert!(caller.known.is_empty());
}

#[test]
fn point_18b_the_address_may_be_there_before_the_service() {
    let mut caller = Caller::with([local(&["10.96.0.1"])]);
    caller.give(dns());
    assert!(caller.passes(WEB) && caller.passes("10.96.0.1:0/any"));
    // Another port of the Service comes under the same rule.
    caller.give([web_plus("dns", json!({"ports": [{"port": 80}, {"name": "x", "port": 81}]}))]);
    assert!(caller.passes("10.96.0.1:81"));
}

#[test]
fn point_18b_an_option_translates_it_all_the_same() {
    let options = Options { translate_local: true, ..Options::default() };
    let mut caller = Caller::with_options(options, dns());
    assert_eq!(caller.give([local(&["10.96.0.1"])]), 0);
    assert_eq!(caller.backends(WEB), ["10.0.0.1:8080"]);
    assert!(caller.notices.is_empty());

    // Not an address that the Service names itself: those of the node stay the node's.
    caller
        .give([web_plus("dns", json!({"externalIPs": ["192.168.0.1"]})), local(&["192.168.0.1"])]);
    assert_eq!(caller.keys(), ["10.96.0.1:80/TCP"]);
    assert_eq!(caller.said("external IP \"192.168.0.1\" is ignored"), 1);
}

#[test]
fn point_18b_other_proxys_services_stay_known() {
    let labels = json!({"service.kubernetes.io/service-proxy-name": "x"});
    let spec = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]});
    let mut caller = Caller::with([labelled_service("dns", labels, spec)]);
    assert_eq!(caller.give([local(&["10.96.0.1"])]), 0);
    assert_eq!(caller.keys(), ["10.96.0.1:0/any"]);
    assert!(caller.notices.is_empty());
}
