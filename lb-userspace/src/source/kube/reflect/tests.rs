use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;

fn service(name: &str) -> Service {
    let metadata = ObjectMeta {
        namespace: Some("ns".into()),
        name: Some(name.into()),
        ..ObjectMeta::default()
    };
    Service { metadata, ..Service::default() }
}

fn endpoints(subsets: Value) -> Endpoints {
    let metadata = json!({"namespace": "ns", "name": "web"});
    serde_json::from_value(json!({"metadata": metadata, "subsets": subsets})).unwrap()
}

fn subset(port: u16, address: &str) -> Value {
    json!({"addresses": [{"ip": address}], "ports": [{"name": "http", "port": port}]})
}

fn networks(name: &str, networks: &[&str]) -> ServiceCIDR {
    let object = json!({"metadata": {"name": name}, "spec": {"cidrs": networks}});
    serde_json::from_value(object).unwrap()
}

/// What was told, each event as the log shows it.
#[derive(Default)]
struct Heard(Vec<String>);

impl Heard {
    fn by(&mut self, tell: impl FnOnce(&mut dyn FnMut(Event))) -> Vec<String> {
        tell(&mut |event| self.0.push(event.to_string()));
        std::mem::take(&mut self.0)
    }
}

#[test]
fn point_26_what_a_new_list_lacks_is_gone_when_it_has_ended_and_not_before() {
    let (mut heard, mut objects) = (Heard::default(), Objects::<Service>::new());
    objects.begin();
    for name in ["a", "b"] {
        objects.apply(service(name), &mut |_| ());
    }
    assert!(heard.by(|out| objects.end(out)).is_empty());
    objects.apply(service("c"), &mut |_| ());

    objects.begin();
    assert_eq!(heard.by(|out| objects.apply(service("b"), out)), ["apply Service ns/b"]);
    // The list broke off, and begins anew.
    objects.begin();
    assert_eq!(heard.by(|out| objects.apply(service("c"), out)), ["apply Service ns/c"]);
    let mut gone = heard.by(|out| objects.end(out));
    gone.sort();
    assert_eq!(gone, ["delete Service ns/a", "delete Service ns/b"]);
    assert!(heard.by(|out| objects.delete(&service("b"), out)).is_empty(), "told already");
    assert_eq!(heard.by(|out| objects.delete(&service("c"), out)), ["delete Service ns/c"]);
    assert!(objects.is_empty());
}

#[test]
fn point_7_endpoints_are_told_as_slices_and_take_them_back() {
    let (mut heard, mut objects) = (Heard::default(), Objects::<Endpoints>::new());
    let both = json!([subset(80, "10.0.0.1"), subset(81, "fd00::1")]);
    assert_eq!(
        heard.by(|out| objects.apply(endpoints(both), out)),
        [
            "apply EndpointSlice ns/web:endpoints:http=80/TCP",
            "apply EndpointSlice ns/web:endpoints6:http=81/TCP"
        ]
    );
    let one = json!([subset(81, "fd00::1")]);
    assert_eq!(
        heard.by(|out| objects.apply(endpoints(one), out)),
        [
            "apply EndpointSlice ns/web:endpoints6:http=81/TCP",
            "delete EndpointSlice ns/web:endpoints:http=80/TCP"
        ]
    );
    let gone = ["delete EndpointSlice ns/web:endpoints6:http=81/TCP"];
    assert_eq!(heard.by(|out| objects.apply(endpoints(json!([])), out)), gone);
    assert!(heard.by(|out| objects.delete(&endpoints(json!([])), out)).is_empty());
}

#[test]
fn point_18_service_networks_are_told_together_once_they_are_listed() {
    let (mut heard, mut known) = (Heard::default(), Networks::default());
    known.begin();
    let two = networks("kubernetes", &["fd00::/112", "10.96.0.0/16"]);
    assert!(heard.by(|out| known.apply(two.clone(), out)).is_empty());
    assert_eq!(
        heard.by(|out| known.end(out)),
        ["Service networks [10.96.0.0/16, fd00::/112]"],
        "sorted"
    );
    assert_eq!(
        heard.by(|out| known.apply(networks("more", &["10.97.0.0/16"]), out)),
        ["Service networks [10.96.0.0/16, 10.97.0.0/16, fd00::/112]"]
    );
    known.begin();
    assert!(heard.by(|out| known.apply(two, out)).is_empty());
    assert_eq!(heard.by(|out| known.end(out)), ["Service networks [10.96.0.0/16, fd00::/112]"]);
    let gone = networks("kubernetes", &[]);
    assert_eq!(heard.by(|out| known.delete(&gone, out)), ["Service networks []"]);
}
