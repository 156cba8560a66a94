//! Objects for the tests of opting out.

mod keeping;
mod resolving;
mod rules;
mod world;

use k8s_openapi::{
    api::core::v1::{Namespace, Pod, PodIP, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::*;

/// What is handed out when nobody opts out.
const NONE: [u64; 0] = [];

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A Pod in the namespace `shop`.
fn pod(name: &str, ip: &str) -> Pod {
    Pod {
        metadata: metadata(Some("shop"), name, &[]),
        status: Some(PodStatus {
            phase: Some("Running".into()),
            pod_ip: Some(ip.into()),
            pod_ips: Some(vec![PodIP { ip: ip.into() }]),
            ..PodStatus::default()
        }),
        spec: Some(PodSpec::default()),
    }
}

fn labelled(mut pod: Pod, labels: Pairs<'_>) -> Pod {
    pod.metadata.labels = metadata(None, "", labels).labels;
    pod
}

fn annotated(mut pod: Pod, annotations: Pairs<'_>) -> Pod {
    pod.metadata.annotations = metadata(None, "", annotations).labels;
    pod
}

fn namespace(name: &str, labels: Pairs<'_>) -> Object {
    Object::Namespace(Box::new(Namespace {
        metadata: metadata(None, name, labels),
        ..Namespace::default()
    }))
}

fn metadata(namespace: Option<&str>, name: &str, labels: Pairs<'_>) -> ObjectMeta {
    let labels = labels.iter().map(|&(key, value)| (key.into(), value.into())).collect();
    ObjectMeta {
        namespace: namespace.map(Into::into),
        name: Some(name.into()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

fn object(pod: Pod) -> Object {
    Object::Pod(Box::new(pod))
}

fn key(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.into(), name: name.into() }
}

/// A Pod that opts out.
fn out(name: &str, ip: &str) -> Object {
    object(labelled(pod(name, ip), &[(OPT_OUT, "true")]))
}
