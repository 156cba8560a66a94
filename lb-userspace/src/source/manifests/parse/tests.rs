use super::*;
use crate::source::manifests::objects::Manifest;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n";

fn broken(text: &str) -> (usize, usize, String) {
    let broken = parse(text).expect_err("the text is broken");
    (broken.spot.document, broken.spot.line, broken.reason)
}

fn names(text: &str) -> Vec<String> {
    let parsed = parse(text).expect("valid text");
    parsed.objects.iter().map(|described| described.object.display_name()).collect()
}

#[test]
fn documents_of_all_kinds() {
    let text = "\
# a comment
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80, targetPort: http}, {port: 81, targetPort: 8081}]}
--- # another
apiVersion: discovery.k8s.io/v1
addressType: IPv4
kind: EndpointSlice
metadata: {name: web-1}
ports: [{port: 80}]
---
{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: web}
subsets:
---
apiVersion: v1
kind: Node
metadata: {name: n, namespace: ignored}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, namespace: ignored}
---
";
    assert_eq!(
        names(text),
        [
            "Service shop/web",
            "EndpointSlice default/web-1",
            "Pod default/p",
            "Endpoints default/web",
            "Node n",
            "Namespace shop"
        ]
    );
}

#[test]
fn lists_mixed_and_typed() {
    let mixed = "\
apiVersion: v1
items:
- {kind: Service, apiVersion: v1, metadata: {name: a}}
- {kind: Deployment, apiVersion: apps/v1, metadata: {name: b}, spec: [1, {x: 2}]}
- {metadata: {name: c}, addressType: IPv4, kind: EndpointSlice, apiVersion: discovery.k8s.io/v1}
kind: List
metadata: {resourceVersion: \"1\"}
";
    assert_eq!(names(mixed), ["Service default/a", "EndpointSlice default/c"]);
    let typed =
        "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]\n";
    assert_eq!(names(typed), ["Pod default/a", "Pod default/b"]);
    assert!(names("apiVersion: v1\nkind: List\n").is_empty());
}

#[test]
fn lists_inside_of_lists() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: List
  items:
  - {apiVersion: v1, kind: Pod, metadata: {name: a}}
  - apiVersion: v1
    kind: NodeList
    items:
    - metadata: {name: b}
- {apiVersion: v1, kind: Pod, metadata: {name: c}}
- {apiVersion: v1, kind: List, items: }
";
    assert_eq!(names(text), ["Pod default/a", "Node b", "Pod default/c"]);
    let parsed = parse(text).expect("valid text");
    let lines: Vec<_> = parsed.objects.iter().map(|described| described.spot.line).collect();
    assert_eq!(lines, [7, 11, 12]);
    let text = "apiVersion: v1\nkind: List\nitems: [\n {apiVersion: v1, kind: List, items: [\n {kind: Pod}]}]\n";
    let (_, line, reason) = broken(text);
    assert!(line == 5 && reason.contains("`apiVersion`"), "{line} {reason}");
}

#[test]
fn kinds_that_are_as_good_as_surely_misspelt() {
    for (api_version, kind, meant) in [
        ("v1", "service", "v1 Service"),
        ("v2", "Service", "v1 Service"),
        ("V1", "SERVICELIST", "v1 ServiceList"),
        ("v1", "list", "v1 List"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1 EndpointSlice"),
        ("v1", "endpointslice", "discovery.k8s.io/v1 EndpointSlice"),
        ("v1", "Endpoint", ""),
        ("v1", "Sevice", ""),
        ("serving.knative.dev/v1", "Service", ""),
        ("v1", "EndpointSlice", ""),
    ] {
        let text = format!("# one\n---\napiVersion: {api_version}\nkind: {kind}\nitems: [1]\n");
        let parsed = parse(&text).expect("valid text");
        assert!(parsed.objects.is_empty());
        let misspelt: Vec<_> = parsed
            .misspelt
            .iter()
            .map(|odd| (odd.written.spot.line, format!("{} {}", odd.api_version, odd.kind)))
            .collect();
        if meant.is_empty() {
            assert_eq!(misspelt, [], "{kind}");
            assert_eq!(parsed.ignored.expect("an ignored object").0.kind, kind);
        } else {
            assert_eq!(misspelt, [(3, meant.to_owned())], "{kind}");
            assert_eq!(parsed.ignored, None);
        }
    }
}

#[test]
fn reasons_are_in_plain_words() {
    for (text, words) in [
        ("kind: Service\n", "no `apiVersion`"),
        ("apiVersion: 1\nkind: Service\n", "no `apiVersion`"),
        ("apiVersion: v1\nkind:\n", "no `kind`"),
        ("just words\n", "this is no object"),
        ("- a\n", "this is no object"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: }\n", "no `metadata.name`"),
        ("apiVersion: v1\nkind: Service\nmetadata: x\n", "fields are needed here"),
        ("apiVersion: v1\nkind: Service\nmetadata: {labels: {a: }}\n", "text is needed here"),
        ("apiVersion: v1\nkind: Service\nspec: {ports: 3}\n", "a list is needed here"),
        ("apiVersion: v1\nkind: Service\nspec: {ports: [{port: 1.5}]}\n", "a whole number"),
        ("apiVersion: v1\nkind: Service\nspec: {publishNotReadyAddresses: x}\n", "`true` or"),
        ("apiVersion: v1\nkind: Service\nmetadata: *a\n", "anchor"),
        ("apiVersion: v1\nkind: List\nitems: {}\n", "a list of objects"),
        (
            "apiVersion: v1\nkind: Service\nspec: {ports: [{port: 1, targetPort: []}]}\n",
            "a number or a name is needed here",
        ),
    ] {
        let (.., reason) = broken(text);
        assert!(reason.contains(words), "{text}{reason}");
        for rust in ["Option", "i32", "event", "struct"] {
            assert!(!reason.contains(rust), "{text}{reason}");
        }
    }
}

#[test]
fn names_that_a_cluster_would_refuse() {
    for metadata in ["name: Web", "name: a.b", "name: a, namespace: a.b", "name: a, namespace: a-"]
    {
        let (_, line, reason) =
            broken(&format!("#\napiVersion: v1\nkind: Service\nmetadata: {{{metadata}}}\n"));
        assert!(line == 2 && reason.contains("is no valid name"), "{metadata}: {reason}");
    }
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: a.b, namespace: any THING}\n";
    assert_eq!(names(node), ["Node a.b"]);
}

#[test]
fn documents_may_end_by_themselves() {
    let text = format!("{SERVICE}...\n---\n{SERVICE}...\n# the end\n");
    assert_eq!(names(&text), ["Service default/web", "Service default/web"]);
}

#[test]
fn other_kinds_are_ignored() {
    let text = "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: 5\n---\n\
                    apiVersion: x/v1\nkind: OddList\nitems: 7\n";
    assert!(names(text).is_empty());
    assert!(names("").is_empty());
}

#[test]
fn defaults_of_a_slices_ports() {
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                    metadata: {name: a}\nports: [{port: 80}, {port: 53, name: dns, protocol: UDP}]\n";
    let parsed = parse(text).expect("valid text");
    let [Described { object: Manifest::EndpointSlice(slice), .. }] = &parsed.objects[..] else {
        panic!("{parsed:?}")
    };
    let ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| (port.name.as_deref(), port.protocol.as_deref()))
        .collect();
    assert_eq!(ports, [(Some(""), Some("TCP")), (Some("dns"), Some("UDP"))]);
}

#[test]
fn mistakes_have_the_line_of_the_file() {
    let text = format!("# one\n{SERVICE}---\n# two\n{SERVICE}spec:\n  ports:\n  - port: abc\n");
    assert_eq!(
        broken(&text),
        (
            2,
            14,
            "a whole number is needed here, of -2147483648 to 2147483647 (`- port: abc`)"
                .to_owned()
        )
    );

    let text = format!("{SERVICE}---\n---\na: [\n");
    let (document, line, _) = broken(&text);
    assert_eq!((document, line), (2, 7));

    let text = format!("{SERVICE}---\n{SERVICE}kind: Pod\n");
    assert_eq!(broken(&text), (2, 10, "duplicate mapping key: kind (`kind: Pod`)".to_owned()));

    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
                    - apiVersion: v1\n  kind: Pod\n  metadata:\n    labels: 3\n";
    let (document, line, _) = broken(list);
    assert_eq!((document, line), (1, 8));
}

#[test]
fn what_a_cluster_would_refuse_is_refused() {
    let (document, line, reason) = broken("---\nmetadata:\n  name: a\n");
    assert_eq!((document, line), (1, 2));
    assert!(reason.contains("`kind`"), "{reason}");

    let (_, line, reason) =
        broken("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n");
    assert!(reason.contains("`metadata.name`"), "{reason}");
    assert_eq!(line, 4);

    let (.., reason) =
        broken("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\n");
    assert!(reason.contains("`addressType`"), "{reason}");
}

#[test]
fn size_alone_is_no_mistake() {
    // More nodes than the parser's own limit for untrusted input.
    let many = "a, ".repeat(300_000);
    let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n, finalizers: [{many}]}}\n");
    assert_eq!(names(&text), ["Node n"]);
}

#[test]
fn a_wrong_time_has_its_line() {
    let text = format!("{SERVICE}  creationTimestamp: yesterday\n  labels: {{}}\n");
    let (_, line, reason) = broken(&text);
    assert_eq!(line, 5);
    assert!(reason.starts_with("a time such as 2024-01-31T12:00:00Z is needed here"), "{reason}");
}
