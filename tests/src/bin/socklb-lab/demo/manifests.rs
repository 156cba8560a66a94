//! The objects of the demo, and the numbers that its Pods and clients share with them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const FILES: [(&str, &str); 2] = [
    ("services.yaml", include_str!("../../../../demo/services.yaml")),
    ("pods.yaml", include_str!("../../../../demo/pods.yaml")),
];

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
