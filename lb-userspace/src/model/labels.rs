//! The labels by which a Service or a slice says that it is not for the node's proxy.
//!
//! kube-proxy asks the API server for neither kind where one of them is there, whatever its value.
//! This module must never look at anything but metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::source::HEADLESS_LABEL;

/// Belongs to another proxy.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// Whether an object is left to others.
pub(super) fn is_for_others(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    // What is headless is for those who look names up, and has no frontend.
    let others = [PROXY_NAME, HEADLESS_LABEL];
    labels.is_some_and(|labels| others.iter().any(|key| labels.contains_key(*key)))
}
