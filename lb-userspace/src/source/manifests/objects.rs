//! The objects of all files together, by name.
//!
//! This module must never know how a file is written, nor what a Service means.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::Report;

/// An object as a file describes it, with its name and namespace filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Manifest {
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Endpoints(Arc<Endpoints>),
    Pod(Arc<Pod>),
    Node(Arc<Node>),
}

/// Namespace and name. The namespace of a Node is empty.
pub(super) type Name = (String, String);

/// All objects that count, each once.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) services: BTreeMap<Name, Arc<Service>>,
    pub(super) slices: BTreeMap<Name, Arc<EndpointSlice>>,
    pub(super) endpoints: BTreeMap<Name, Arc<Endpoints>>,
    pub(super) pods: BTreeMap<Name, Arc<Pod>>,
    pub(super) nodes: BTreeMap<Name, Arc<Node>>,
}

impl Objects {
    /// Brings the objects of all files together. Where two describe the same object, the first one
    /// in the order of `files` counts, and a report names both.
    pub(super) fn merge<'a>(
        files: impl IntoIterator<Item = (&'a Path, &'a [Manifest])>,
    ) -> (Self, Vec<Report>) {
        let mut objects = Self::default();
        let mut reports = Vec::new();
        let mut homes: BTreeMap<_, &Path> = BTreeMap::new();
        for (file, manifests) in files {
            for manifest in manifests {
                let (kind, name) = (manifest.kind(), manifest.name());
                if let Some(used) = homes.get(&(kind, name.clone())) {
                    reports.push(Report::Duplicate {
                        object: manifest.display_name(),
                        used: used.to_path_buf(),
                        ignored: file.to_path_buf(),
                    });
                    continue;
                }
                homes.insert((kind, name.clone()), file);
                objects.insert(name, manifest.clone());
            }
        }
        (objects, reports)
    }

    fn insert(&mut self, name: Name, manifest: Manifest) {
        match manifest {
            Manifest::Service(object) => drop(self.services.insert(name, object)),
            Manifest::EndpointSlice(object) => drop(self.slices.insert(name, object)),
            Manifest::Endpoints(object) => drop(self.endpoints.insert(name, object)),
            Manifest::Pod(object) => drop(self.pods.insert(name, object)),
            Manifest::Node(object) => drop(self.nodes.insert(name, object)),
        }
    }
}

impl Manifest {
    fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "Service",
            Self::EndpointSlice(_) => "EndpointSlice",
            Self::Endpoints(_) => "Endpoints",
            Self::Pod(_) => "Pod",
            Self::Node(_) => "Node",
        }
    }

    /// For people: kind, namespace and name.
    pub(super) fn display_name(&self) -> String {
        match (self.kind(), self.name()) {
            (kind, (namespace, name)) if namespace.is_empty() => format!("{kind} {name}"),
            (kind, (namespace, name)) => format!("{kind} {namespace}/{name}"),
        }
    }

    fn name(&self) -> Name {
        name_of(match self {
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Endpoints(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
        })
    }
}

pub(super) fn name_of(metadata: &ObjectMeta) -> Name {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
