//! Who opts out.

use super::*;

fn registry(rules: Rules, objects: impl IntoIterator<Item = Object>) -> Registry {
    let mut registry = Registry::new(rules);
    for object in objects {
        registry.apply(&object);
    }
    registry
}

/// The Pods that opt out, with their addresses.
fn wanted(registry: &Registry) -> Vec<String> {
    let wanted = registry.wanted().into_iter();
    wanted.map(|(pod, sought)| format!("{pod} {:?}", sought.addresses)).collect()
}

fn notices(registry: &Registry) -> Vec<String> {
    registry.notices().iter().map(ToString::to_string).collect()
}

#[test]
fn the_most_explicit_word_counts() {
    // Label and annotation of the Pod, label of its Namespace, selectors of Pods and Namespaces.
    let none = ("", "", "", false, false);
    for ((label, annotation, of_namespace, pods, namespaces), out) in [
        (none, false),
        (("true", "", "", false, false), true),
        (("", "true", "", false, false), true),
        (("", "", "true", false, false), true),
        (("", "", "", true, false), true),
        (("", "", "", false, true), true),
        (("false", "true", "true", true, true), false),
        (("true", "false", "false", false, false), true),
        (("", "false", "true", true, true), false),
        (("", "", "false", true, true), false),
        (("maybe", "", "true", false, false), true),
        (("maybe", "", "false", true, false), false),
    ] {
        let word =
            |text: &'static str| if text.is_empty() { vec![] } else { vec![(OPT_OUT, text)] };
        let mut labels = word(label);
        labels.push(("app", "db"));
        let mut labels_of_namespace = word(of_namespace);
        labels_of_namespace.push(("team", "x"));
        let selector =
            |text: &str, wanted: bool| wanted.then(|| text.parse().unwrap()).into_iter().collect();
        let rules = Rules {
            node: None,
            pods: selector("app=db", pods),
            namespaces: selector("team", namespaces),
        };
        let pod = annotated(labelled(pod("a", "10.0.0.1"), &labels), &word(annotation));
        for pod_first in [true, false] {
            let mut objects = vec![namespace("shop", &labels_of_namespace), object(pod.clone())];
            if pod_first {
                objects.reverse();
            }
            let registry = registry(rules.clone(), objects);
            let expected = if out { vec!["shop/a [10.0.0.1]"] } else { vec![] };
            assert_eq!(wanted(&registry), expected, "{labels:?} {annotation} {of_namespace}");
        }
    }
}

#[test]
fn a_label_of_a_namespace_comes_and_goes_for_pods_that_were_there_before() {
    let mut registry = registry(Rules::default(), [object(pod("a", "10.0.0.1"))]);
    assert!(wanted(&registry).is_empty());
    registry.apply(&namespace("shop", &[(OPT_OUT, "true")]));
    assert_eq!(wanted(&registry).len(), 1);
    registry.apply(&namespace("shop", &[]));
    assert!(wanted(&registry).is_empty());
    registry.apply(&namespace("shop", &[(OPT_OUT, "true")]));
    registry.delete(key(Kind::Namespace, "", "shop"));
    assert!(wanted(&registry).is_empty());
    registry.apply(&namespace("other", &[(OPT_OUT, "true")]));
    assert!(wanted(&registry).is_empty());
}

#[test]
fn only_pods_that_run_here_count() {
    let out = |name: &str, ip: &str| labelled(pod(name, ip), &[(OPT_OUT, "true")]);
    let on = |mut pod: Pod, node: &str| {
        pod.spec.as_mut().unwrap().node_name = Some(node.into());
        pod
    };
    let phase = |mut pod: Pod, phase: &str| {
        pod.status.as_mut().unwrap().phase = Some(phase.into());
        pod
    };
    let objects = || {
        [
            on(out("here", "10.0.0.1"), "n1"),
            on(out("there", "10.0.0.2"), "n2"),
            out("somewhere", "10.0.0.3"),
            phase(out("done", "10.0.0.4"), "Succeeded"),
            phase(out("failed", "10.0.0.5"), "Failed"),
            phase(out("early", "10.0.0.6"), "Pending"),
        ]
        .map(object)
    };
    let here = Rules { node: Some("n1".into()), ..Rules::default() };
    let mut registry = registry(here, objects());
    let expected = ["shop/early [10.0.0.6]", "shop/here [10.0.0.1]", "shop/somewhere [10.0.0.3]"];
    assert_eq!(wanted(&registry), expected);
    // One that ends, one that moves away, one that goes.
    registry.apply(&object(phase(out("early", "10.0.0.6"), "Succeeded")));
    registry.apply(&object(on(out("somewhere", "10.0.0.3"), "n2")));
    registry.delete(key(Kind::Pod, "shop", "here"));
    assert!(wanted(&registry).is_empty());

    let everywhere = super::rules::registry(Rules::default(), objects());
    assert_eq!(wanted(&everywhere).len(), 4);
}

#[test]
fn a_pod_is_known_by_all_its_addresses() {
    let mut dual = labelled(pod("a", "10.0.0.1"), &[(OPT_OUT, "true")]);
    dual.status.as_mut().unwrap().pod_ips =
        Some(["fd00::1", "10.0.0.1", "x"].map(|ip| PodIP { ip: ip.into() }).into());
    let mut none = labelled(pod("b", "10.0.0.2"), &[(OPT_OUT, "true")]);
    none.status = None;
    let registry = registry(Rules::default(), [object(dual), object(none)]);
    assert_eq!(wanted(&registry), ["shop/a [10.0.0.1, fd00::1]"]);
}

#[test]
fn what_cannot_be_followed_is_told() {
    let mut host = labelled(pod("h", "10.0.0.1"), &[(OPT_OUT, "true")]);
    host.spec.as_mut().unwrap().host_network = Some(true);
    let mut silent = host.clone();
    silent.metadata.name = Some("silent".into());
    silent.metadata.labels = None;
    let odd = labelled(pod("odd", "10.0.0.2"), &[(OPT_OUT, "yes")]);
    let registry = registry(
        Rules::default(),
        [object(host), object(silent), object(odd), namespace("shop", &[(OPT_OUT, "")])],
    );
    assert!(wanted(&registry).is_empty());
    let notices = notices(&registry);
    assert_eq!(notices.len(), 3, "{notices:?}");
    for (notice, begin) in notices.iter().zip([
        "Pod shop/h cannot opt out",
        "socklb.io/opt-out of Namespace shop is \"\"",
        "socklb.io/opt-out of Pod shop/odd is \"yes\"",
    ]) {
        assert!(notice.starts_with(begin), "{notice}");
    }
}
