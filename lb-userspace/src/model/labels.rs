//! The labels by which a Service or a slice says that it is not for the node's proxy.
//!
//! kube-proxy asks the API server for neither kind where one of them is there, whatever its value.
//! This module must never look at anything but metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Belongs to another proxy.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Is for those who look names up, and has no frontend.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether an object is left to others.
pub(super) fn is_for_others(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    labels.is_some_and(|labels| [PROXY_NAME, HEADLESS].iter().any(|key| labels.contains_key(*key)))
}
