//! The objects of the demo, as files or in a cluster, and the numbers that its Pods and clients share with
//! them.
//!
//! The numbers must never part from the manifests', which say them once more.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    core::v1::{Namespace, Node},
    discovery::v1::EndpointSlice,
};
use lab::cluster::{Cluster, NODE};
use serde_json::json;

const SERVICES: &str = include_str!("../../../../demo/services.yaml");
const FILES: [(&str, &str); 2] =
    [("services.yaml", SERVICES), ("pods.yaml", include_str!("../../../../demo/pods.yaml"))];

/// Every Pod that listens: the three of the manifests, and one for whoever edits them.
pub(crate) const PODS: [u8; 4] = [1, 2, 3, 4];
/// Where they listen: the Services' target port.
pub(crate) const PORT: u16 = 8080;

/// A Service of the manifests, as its clients know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    /// namespace/name:port
    pub(crate) name: &'static str,
    pub(crate) frontend: SocketAddrV4,
}

/// Has three backends.
pub(crate) const WEB: Service = Service {
    name: "demo/web:http",
    frontend: SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80),
};
/// Has none.
pub(crate) const EMPTY: Service = Service {
    name: "demo/empty:http",
    frontend: SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 20), 80),
};

/// Writes the manifests to a new folder inside `scratch`, and returns that folder.
pub(crate) fn write(scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join("manifests");
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder)
}

/// Stores the same objects in a cluster. No controller runs there, so the slice comes from here.
pub(crate) fn store(cluster: &Cluster<'_>) -> Result<()> {
    let object = |value| serde_json::from_value(value).context("an object of the demo");
    let [demo, node] = ["demo", NODE].map(|name| json!({"metadata": {"name": name}}));
    cluster.put::<Namespace>(serde_json::from_value(demo)?)?;
    cluster.put::<Node>(serde_json::from_value(node)?)?;
    let endpoint = |index: &u8| json!({"addresses": [format!("10.244.0.{}", 10 + index)]});
    cluster.put::<EndpointSlice>(object(json!({
        "metadata": {
            "namespace": "demo", "name": "web-1",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        "endpoints": PODS[..3].iter().map(endpoint).collect::<Vec<_>>(),
    }))?)?;
    for service in SERVICES.split("\n---\n") {
        let service = serde_saphyr::from_str(service).context("a Service of the demo")?;
        cluster.put::<k8s_openapi::api::core::v1::Service>(service)?;
    }
    Ok(())
}
