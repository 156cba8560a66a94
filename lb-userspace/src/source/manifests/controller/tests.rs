use serde_json::{Value, json};

use super::{super::parse::parse, *};

mod families;

/// The made slices of some objects in namespace "default": name, ports and endpoints in short.
fn made(objects: impl IntoIterator<Item = Value>) -> Vec<String> {
    let text: Vec<_> = objects.into_iter().map(|object| object.to_string()).collect();
    let parsed = parse(&text.join("\n---\n")).expect("valid manifests");
    let (objects, reports) =
        Objects::merge([("test.yaml".as_ref(), &parsed.objects[..])].into_iter());
    assert!(reports.is_empty(), "{reports:?}");
    slices(&objects).iter().map(display).collect()
}

fn display(slice: &EndpointSlice) -> String {
    let family = if slice.address_type == "IPv6" { "IPv6 " } else { "" };
    let labels = slice.metadata.labels.as_ref().expect("labels");
    let ports = slice.ports.iter().flatten().map(|port| {
        let number = port.port.expect("a number");
        format!("{}:{number}", port.name.as_deref().expect("a name"))
    });
    let endpoints = slice.endpoints.iter().flatten().map(|endpoint| {
        let conditions = endpoint.conditions.as_ref().expect("conditions");
        let mut text = endpoint.addresses.join("+");
        for (name, holds) in [
            ("ready", conditions.ready),
            ("serving", conditions.serving),
            ("terminating", conditions.terminating),
        ] {
            if holds == Some(true) {
                text = format!("{text} {name}");
            }
        }
        match &endpoint.node_name {
            Some(node) => format!("{text} on {node}"),
            None => text,
        }
    });
    let ports: Vec<_> = ports.collect();
    let endpoints: Vec<_> = endpoints.collect();
    let service = &labels["kubernetes.io/service-name"];
    format!("{family}{service} [{}] {}", ports.join(" "), endpoints.join(", "))
}

fn service(mut spec: Value) -> Value {
    spec["clusterIP"] = json!("10.96.0.1");
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
}

/// A Service that selects app=web.
fn web(ports: Value) -> Value {
    service(json!({"selector": {"app": "web"}, "ports": ports}))
}

/// A Pod with app=web and an address. `more` is merged into it at the top.
fn pod(name: &str, ip: &str, more: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "tier": name}},
        "spec": {"containers": []},
        "status": {"podIP": ip},
    });
    for (section, fields) in more.as_object().expect("an object") {
        for (field, value) in fields.as_object().expect("an object") {
            pod[section][field] = value.clone();
        }
    }
    pod
}

const NONE: [&str; 0] = [];

#[test]
fn pods_by_selector() {
    let elsewhere = pod("other-namespace", "10.0.0.9", json!({"metadata": {"namespace": "x"}}));
    let unlabelled = pod("unlabelled", "10.0.0.8", json!({"metadata": {"labels": {"app": "x"}}}));
    let half = pod("half", "10.0.0.7", json!({"metadata": {"labels": {"app": "web"}}}));
    let pods = || {
        [pod("b", "10.0.0.2", json!({})), pod("a", "10.0.0.1", json!({"spec": {"nodeName": "n"}}))]
    };
    let all = [elsewhere, unlabelled, half].into_iter().chain(pods());
    assert_eq!(
        made(all.clone().chain([web(json!([{"port": 80}]))])),
        ["web [:80] 10.0.0.1 ready serving on n, 10.0.0.2 ready serving, 10.0.0.7 ready serving"]
    );
    let both = service(json!({"selector": {"app": "web", "tier": "b"}, "ports": [{"port": 80}]}));
    assert_eq!(made(all.chain([both])), ["web [:80] 10.0.0.2 ready serving"]);
    let selector = json!({"selector": {}, "ports": [{"port": 80}]});
    assert_eq!(made(pods().into_iter().chain([service(selector)])), NONE);
    assert_eq!(made(pods().into_iter().chain([service(json!({"ports": [{"port": 80}]}))])), NONE);
}

#[test]
fn pods_that_are_no_endpoints() {
    let service = web(json!([{"port": 80}]));
    assert_eq!(
        made([
            service,
            pod("done", "10.0.0.1", json!({"status": {"phase": "Succeeded"}})),
            pod("failed", "10.0.0.2", json!({"status": {"phase": "Failed"}})),
            pod("pending", "", json!({"status": {"phase": "Pending"}})),
            pod("six", "fd00::1", json!({})),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "no-status", "labels": {"app": "web"}},
            }),
        ]),
        NONE
    );
}

#[test]
fn conditions_of_pods() {
    let with = |name: &str, ip: &str, ready: &str, deleted: bool| {
        let mut pod = pod(
            name,
            ip,
            json!({"status": {"conditions": [
                {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready},
            ]}}),
        );
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
        }
        pod
    };
    let starting = json!({"status": {"conditions": [{"type": "Initialized", "status": "True"}]}});
    let pods = [
        with("a", "10.0.0.1", "True", false),
        with("b", "10.0.0.2", "False", false),
        with("c", "10.0.0.3", "True", true),
        with("d", "10.0.0.4", "False", true),
        pod("e", "10.0.0.5", starting),
    ];
    assert_eq!(
        made(pods.clone().into_iter().chain([web(json!([{"port": 80}]))])),
        ["web [:80] 10.0.0.1 ready serving, 10.0.0.2, 10.0.0.3 serving terminating, \
          10.0.0.4 terminating, 10.0.0.5"]
    );
    let publish = service(json!({
        "selector": {"app": "web"}, "publishNotReadyAddresses": true, "ports": [{"port": 80}],
    }));
    assert_eq!(
        made(pods.into_iter().chain([publish])),
        ["web [:80] 10.0.0.1 ready serving, 10.0.0.2 ready, \
          10.0.0.3 ready serving terminating, 10.0.0.4 ready terminating, 10.0.0.5 ready"]
    );
}

#[test]
fn ports_of_pods() {
    let listening = |name: &str, ip: &str, ports: Value| {
        pod(
            name,
            ip,
            json!({"spec": {"containers": [{"name": "main"}, {"name": "c", "ports": ports}]}}),
        )
    };
    let mut sidecar = pod("d", "10.0.0.4", json!({}));
    sidecar["spec"]["initContainers"] = json!([
        {"name": "once", "ports": [{"name": "http", "containerPort": 1}]},
        {"name": "s", "restartPolicy": "Always", "ports": [{"name": "http", "containerPort": 8083}]},
    ]);
    let ports = json!([
        {"name": "http", "port": 80, "targetPort": "http"},
        {"name": "same", "port": 90},
        {"name": "other", "port": 91, "targetPort": 9091},
    ]);
    assert_eq!(
        made([
            web(ports),
            listening("a", "10.0.0.1", json!([{"name": "http", "containerPort": 8080}])),
            listening("b", "10.0.0.2", json!([{"name": "http", "containerPort": 8081}])),
            listening(
                "c",
                "10.0.0.3",
                json!([
                    {"name": "http", "containerPort": 1, "protocol": "UDP"},
                    {"name": "http", "containerPort": 8080},
                ])
            ),
            sidecar,
            listening("e", "10.0.0.5", json!([])),
        ]),
        [
            "web [http:8080 other:9091 same:90] 10.0.0.1 ready serving, 10.0.0.3 ready serving",
            "web [http:8081 other:9091 same:90] 10.0.0.2 ready serving",
            "web [http:8083 other:9091 same:90] 10.0.0.4 ready serving",
            // The Pod lacks the named port, and serves the others.
            "web [other:9091 same:90] 10.0.0.5 ready serving",
        ]
    );
}

fn endpoints(labels: Value, subsets: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "web", "labels": labels}, "subsets": subsets,
    })
}

#[test]
fn endpoints_are_mirrored() {
    let subsets = json!([
        {
            "addresses": [{"ip": "10.0.0.1", "nodeName": "n"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [{"port": 8080}],
        },
        {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"name": "x", "port": 1}, {"name": "a", "port": 2}]},
        {"addresses": [{"ip": "10.0.0.4"}], "ports": [{"port": 8080}]},
    ]);
    let slices =
        made([service(json!({"ports": [{"port": 80}]})), endpoints(json!({}), subsets.clone())]);
    assert_eq!(
        slices,
        [
            "web [:8080] 10.0.0.1 ready serving on n, 10.0.0.2, 10.0.0.4 ready serving",
            "web [a:2 x:1] 10.0.0.3 ready serving",
            "IPv6 web [:8080] fd00::1 ready serving",
        ]
    );
    let headless = json!({"service.kubernetes.io/headless": ""});
    assert_eq!(made([endpoints(headless, subsets)]), NONE);
}

#[test]
fn endpoints_whose_slices_were_left_out_are_mirrored() {
    // As `kubectl get service,endpoints -o yaml` gives the API server's own Service.
    let endpoints = endpoints(
        json!({"endpointslice.kubernetes.io/skip-mirror": "true"}),
        json!([{"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "https", "port": 6443}]}]),
    );
    assert_eq!(made([endpoints.clone()]), ["web [https:6443] 10.0.0.2 ready serving"]);
    let by_hand = slice("IPv4", json!({"kubernetes.io/service-name": "web"}));
    assert_eq!(made([endpoints, by_hand]), NONE);
}

fn slice(family: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": "any", "labels": labels},
    })
}

#[test]
fn slices_that_are_never_used_do_not_count_as_given() {
    let by_pods = [web(json!([{"port": 80}])), pod("a", "10.0.0.1", json!({}))];
    let of_web = json!({"kubernetes.io/service-name": "web"});
    let headless =
        json!({"kubernetes.io/service-name": "web", "service.kubernetes.io/headless": ""});
    for slice in [slice("IPv6", of_web), slice("IPv4", headless), slice("IPv4", json!({}))] {
        let objects = by_pods.iter().chain([&slice]).cloned();
        assert_eq!(made(objects), ["web [:80] 10.0.0.1 ready serving"], "{slice}");
    }
}

#[test]
fn what_is_given_by_hand_counts() {
    let by_pods = [web(json!([{"port": 80}])), pod("a", "10.0.0.1", json!({}))];
    let by_endpoints = endpoints(
        json!({}),
        json!([{"addresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 8080}]}]),
    );
    let by_slice = slice("IPv4", json!({"kubernetes.io/service-name": "web"}));
    let with = |more: &[&Value]| made(by_pods.iter().chain(more.iter().copied()).cloned());
    assert_eq!(with(&[]), ["web [:80] 10.0.0.1 ready serving"]);
    assert_eq!(with(&[&by_endpoints]), ["web [:8080] 10.0.0.2 ready serving"]);
    assert_eq!(with(&[&by_slice]), NONE);
    assert_eq!(with(&[&by_slice, &by_endpoints]), NONE);
}

#[test]
fn a_slice_keeps_its_name_while_endpoints_change() {
    let names = |pods: &[Value]| {
        let text: Vec<_> = [web(json!([{"name": "http", "port": 80}]))]
            .iter()
            .chain(pods)
            .map(ToString::to_string)
            .collect();
        let parsed = parse(&text.join("\n---\n")).expect("valid manifests");
        let (objects, _) =
            Objects::merge([("test.yaml".as_ref(), &parsed.objects[..])].into_iter());
        slices(&objects).into_iter().map(|slice| slice.metadata.name).collect::<Vec<_>>()
    };
    let one = names(&[pod("a", "10.0.0.1", json!({}))]);
    assert_eq!(one, [Some("web:pods:http=80/TCP".to_owned())]);
    assert_eq!(one, names(&[pod("0", "10.0.0.2", json!({})), pod("a", "10.0.0.1", json!({}))]));
}
