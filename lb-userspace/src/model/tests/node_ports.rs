//! Point 16: node ports, on the node's addresses as they come and go.

use serde_json::json;

use super::*;

fn node_port(fields: Value) -> Event {
    let mut all = json!({
        "type": "NodePort",
        "ports": [
            {"name": "t", "port": 80, "nodePort": 30080},
            {"name": "u", "port": 80, "nodePort": 30080, "protocol": "UDP"},
        ],
    });
    for (field, value) in fields.as_object().expect("fields") {
        all[field] = value.clone();
    }
    web_plus("web", all)
}

fn dual() -> Value {
    json!({"clusterIP": "", "clusterIPs": ["10.96.0.1", "fd00::a"]})
}

fn endpoints() -> Event {
    let ports = json!([{"name": "t", "port": 8080}, {"name": "u", "port": 53, "protocol": "UDP"}]);
    slice_with_ports("a", "web", ports, json!([ready("10.0.0.1")]))
}

/// Keys of node ports alone.
fn node_ports(caller: &Caller) -> Vec<String> {
    let node_ports = caller.known.iter().filter(|(_, state)| state.kind == FrontendKind::NodePort);
    node_ports.map(|(key, _)| key.to_string()).collect()
}

#[test]
fn point_16_node_ports_on_the_nodes_addresses() {
    let mut caller = Caller::with([node_port(json!({})), endpoints()]);
    assert_eq!(node_ports(&caller), NONE);
    caller.give([local(&["192.168.0.1", "2001:db8::1"])]);
    let both = ["192.168.0.1:30080/TCP", "192.168.0.1:30080/UDP"];
    assert_eq!(node_ports(&caller), both, "the Service is of IPv4");
    assert_eq!(caller.backends(both[0]), ["10.0.0.1:8080"]);
    assert_eq!(caller.backends(both[1]), ["10.0.0.1:53"]);
    assert_eq!(&*caller.frontend(both[1]).name, "ns/web:u/UDP");
    assert!(!caller.frontend(both[0]).host_only);

    // An address comes, one goes, one stays.
    assert_eq!(caller.give([local(&["192.168.0.1", "192.168.0.2"])]), 2);
    assert_eq!(caller.give([local(&["192.168.0.2", "192.168.0.2"])]), 2);
    assert_eq!(node_ports(&caller), ["192.168.0.2:30080/TCP", "192.168.0.2:30080/UDP"]);
    assert_eq!(caller.give([local(&["192.168.0.2"])]), 0);
    caller.give([node_port(dual()), local(&["2001:db8::1"])]);
    assert_eq!(node_ports(&caller), ["[2001:db8::1]:30080/TCP", "[2001:db8::1]:30080/UDP"]);
    assert!(caller.notices.is_empty());
}

#[test]
fn point_16_node_ports_of_a_type_that_flips() {
    let mut caller = Caller::with([local(&["192.168.0.1"]), node_port(json!({}))]);
    assert_eq!(node_ports(&caller).len(), 2);
    caller.give([node_port(json!({"type": "ClusterIP"}))]);
    assert_eq!(node_ports(&caller), NONE);
    caller.give([node_port(json!({"type": "LoadBalancer"}))]);
    assert_eq!(node_ports(&caller).len(), 2);
    // allocateLoadBalancerNodePorts: false.
    caller.give([web_plus("web", json!({"type": "LoadBalancer"}))]);
    assert_eq!(node_ports(&caller), NONE);
    caller.give([node_port(json!({"ports": [{"port": 80, "nodePort": 70000}]}))]);
    assert_eq!(node_ports(&caller), NONE);
    assert_eq!(caller.said("Service ns/web: port 70000 is ignored"), 1);
}

#[test]
fn point_16_node_ports_on_some_networks_only() {
    let networks = ["192.168.0.0/24", "2001:db8::/32"].map(|net| net.parse().expect("a network"));
    let options = Options { node_port_addresses: networks.to_vec(), ..Options::default() };
    let addresses = ["192.168.0.1", "192.168.1.1", "2001:db8::1", "2001:db9::1"];
    let caller = Caller::with_options(options, [node_port(dual()), local(&addresses)]);
    let expected = [
        "192.168.0.1:30080/TCP",
        "192.168.0.1:30080/UDP",
        "[2001:db8::1]:30080/TCP",
        "[2001:db8::1]:30080/UDP",
    ];
    assert_eq!(node_ports(&caller), expected);
}

#[test]
fn point_16_node_ports_on_localhost_by_an_option_never_on_ipv6s() {
    let networks = vec!["192.168.0.0/24".parse().expect("a network")];
    let options =
        Options { node_port_addresses: networks, node_port_localhost: true, ..Options::default() };
    let mut caller = Caller::with_options(options, [node_port(dual()), endpoints()]);
    let localhost = ["127.0.0.1:30080/TCP", "127.0.0.1:30080/UDP"];
    assert_eq!(node_ports(&caller), localhost, "before any address is known");
    assert!(caller.frontend(localhost[0]).host_only);
    assert_eq!(caller.backends(localhost[0]), ["10.0.0.1:8080"]);

    // A source that tells more than it should changes nothing.
    caller.give([local(&["127.0.0.1", "127.0.0.53", "::1", "fe80::1", "192.168.0.1"])]);
    let more = ["127.0.0.1:30080/TCP", "127.0.0.1:30080/UDP", "192.168.0.1:30080/TCP"];
    assert_eq!(node_ports(&caller)[..3], more);
    assert_eq!(node_ports(&caller).len(), 4);
    assert!(!caller.frontend("192.168.0.1:30080").host_only);

    let caller = Caller::with([node_port(dual()), local(&["127.0.0.1", "::1"])]);
    assert_eq!(node_ports(&caller), NONE);
}

#[test]
fn point_29_one_node_port_of_several_services_and_protocols() {
    let with = |name: &str, address: &str, ports: Value| {
        service(name, json!({"clusterIP": address, "type": "NodePort", "ports": ports}))
    };
    let udp = json!([{"name": "b", "port": 53, "nodePort": 30053, "protocol": "UDP"}]);
    let tcp = json!([{"name": "b", "port": 53, "nodePort": 30053}]);
    let mut caller = Caller::with([
        local(&["192.168.0.1"]),
        with("a", "10.96.0.2", tcp.clone()),
        with("b", "10.96.0.3", udp),
    ]);
    assert_eq!(&*caller.frontend("192.168.0.1:30053/TCP").name, "ns/a:b/TCP");
    assert_eq!(&*caller.frontend("192.168.0.1:30053/UDP").name, "ns/b:b/UDP");
    assert!(caller.notices.is_empty());

    caller.give([with("0", "10.96.0.4", tcp)]);
    assert_eq!(&*caller.frontend("192.168.0.1:30053/TCP").name, "ns/0:b/TCP");
    assert_eq!(caller.said("Service ns/a: 192.168.0.1:30053/TCP is not served"), 1);
    caller.give([delete(Kind::Service, "0")]);
    assert_eq!(&*caller.frontend("192.168.0.1:30053/TCP").name, "ns/a:b/TCP");
    caller.give([local(&[])]);
    assert_eq!(node_ports(&caller), NONE);
}

#[test]
fn point_8_one_node_port_in_each_family() {
    let with = |name: &str, address: &str| {
        let ports = json!([{"port": 80, "nodePort": 30080}]);
        service(name, json!({"clusterIP": address, "type": "NodePort", "ports": ports}))
    };
    let caller = Caller::with([
        local(&["192.168.0.1", "2001:db8::1"]),
        with("a", "10.96.0.2"),
        with("b", "fd00::b"),
    ]);
    assert_eq!(&*caller.frontend("192.168.0.1:30080").name, "ns/a/TCP");
    assert_eq!(&*caller.frontend("[2001:db8::1]:30080").name, "ns/b/TCP");
    assert!(caller.notices.is_empty());
}
