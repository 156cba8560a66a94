//! What a new cluster has.
//!
//! None of it may be stored past the rules for everyone's objects.

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Service, ServicePort, ServiceSpec},
        networking::v1::{ServiceCIDR, ServiceCIDRSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    options::Options,
    status::Refusal,
    store::Store,
    write::{Part, create},
};

/// The port of which the Service `kubernetes` says that the server listens there.
const SERVER: i32 = 6443;

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}

/// Stores it.
pub(super) fn fill(store: &mut Store, options: &Options) -> Result<(), Refusal> {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        create(store, None, namespace, Part::Main)?;
    }
    let cidrs = options.service_cidrs.iter().map(ToString::to_string).collect();
    let range = ServiceCIDR {
        metadata: named("kubernetes"),
        spec: Some(ServiceCIDRSpec { cidrs: Some(cidrs) }),
        ..ServiceCIDR::default()
    };
    create(store, None, range, Part::Main)?;
    let mut metadata = named("kubernetes");
    let labels = [("component", "apiserver"), ("provider", "kubernetes")];
    metadata.labels = Some(labels.map(|(key, value)| (key.into(), value.into())).into());
    let port = ServicePort {
        name: Some("https".into()),
        port: 443,
        target_port: Some(IntOrString::Int(SERVER)),
        ..ServicePort::default()
    };
    let spec = ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() };
    let service = Service { metadata, spec: Some(spec), ..Service::default() };
    create(store, Some("default"), service, Part::Main)?;
    Ok(())
}
