//! From the text of one manifest file to typed objects.
//!
//! This module must never look at other files, nor fill in what only the cluster's controllers
//! know. It does what the API server does to a manifest: it checks that the object has a name, and
//! fills in the defaults that others rely on.

mod document;
mod typed;

use serde_saphyr::{Budget, Options};

use self::document::documents;
use super::objects::Manifest;

/// Why a file could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Counts from 1 the documents that hold anything.
    pub(super) document: usize,
    /// Counts from 1, in the file.
    pub(super) line: usize,
    pub(super) reason: String,
}

/// All objects of a file, in its order. All or nothing: a file that was half understood would take
/// away what its other half still describes.
pub(super) fn parse(text: &str) -> Result<Vec<Manifest>, Broken> {
    let mut objects = Vec::new();
    for (index, document) in documents(text).enumerate() {
        typed::read(document.text, &mut objects).map_err(|error| {
            let (line, reason) = describe(&error);
            Broken { document: index + 1, line: document.start + line.max(1), reason }
        })?;
    }
    Ok(objects)
}

/// The line within the document, 0 if unknown, and the reason without it.
fn describe(error: &serde_saphyr::Error) -> (usize, String) {
    let text = error.to_string();
    match error.location() {
        Some(location) => {
            // The line is one of the document, which would mislead beside the one of the file.
            let suffix = format!(" at line {}, column {}", location.line(), location.column());
            let reason = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
            (usize::try_from(location.line()).unwrap_or(0), reason)
        }
        None => (0, text),
    }
}

/// The whole text is in memory already, so its size bounds what parsing it costs; only aliases
/// can multiply, and keep their limits.
fn options(text: &str) -> Options {
    let size = text.len() + 16;
    Options {
        budget: Some(Budget { max_events: size, max_nodes: size, ..Budget::default() }),
        with_snippet: false,
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n";

    fn broken(text: &str) -> (usize, usize, String) {
        let broken = parse(text).expect_err("the text is broken");
        (broken.document, broken.line, broken.reason)
    }

    fn names(text: &str) -> Vec<String> {
        let objects = parse(text).expect("valid text");
        objects.iter().map(Manifest::display_name).collect()
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
";
        assert_eq!(
            names(text),
            [
                "Service shop/web",
                "EndpointSlice default/web-1",
                "Pod default/p",
                "Endpoints default/web",
                "Node n"
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
        let typed = "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]\n";
        assert_eq!(names(typed), ["Pod default/a", "Pod default/b"]);
        assert!(names("apiVersion: v1\nkind: List\n").is_empty());
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
        let objects = parse(text).expect("valid text");
        let [Manifest::EndpointSlice(slice)] = &objects[..] else { panic!("{objects:?}") };
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
        assert_eq!(broken(&text), (2, 14, "invalid i32".to_owned()));

        let text = format!("{SERVICE}---\n---\na: [\n");
        let (document, line, _) = broken(&text);
        assert_eq!((document, line), (2, 7));

        let text = format!("{SERVICE}---\n{SERVICE}kind: Pod\n");
        assert_eq!(broken(&text), (2, 10, "duplicate mapping key: kind".to_owned()));

        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
                    - apiVersion: v1\n  kind: Pod\n  metadata:\n    labels: 3\n";
        let (document, line, _) = broken(list);
        assert_eq!((document, line), (1, 8));
    }

    #[test]
    fn what_a_cluster_would_refuse_is_refused() {
        let (document, line, reason) = broken("---\nmetadata:\n  name: a\n");
        assert_eq!((document, line), (1, 1));
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
        let text =
            format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n, finalizers: [{many}]}}\n");
        assert_eq!(names(&text), ["Node n"]);
    }
}
