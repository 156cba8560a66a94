//! The objects of all files together, by name.
//!
//! This module must never know how a file is written, nor what a Service means.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
    sync::Arc,
};

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
pub(super) type Name<'a> = (&'a str, &'a str);

/// All objects that count, each once, borrowed from their files: this is put together at every
/// change.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    pub(super) services: BTreeMap<Name<'a>, &'a Arc<Service>>,
    pub(super) slices: BTreeMap<Name<'a>, &'a Arc<EndpointSlice>>,
    pub(super) endpoints: BTreeMap<Name<'a>, &'a Arc<Endpoints>>,
    pub(super) pods: BTreeMap<Name<'a>, &'a Arc<Pod>>,
    pub(super) nodes: BTreeMap<Name<'a>, &'a Arc<Node>>,
}

impl<'a> Objects<'a> {
    /// Brings the objects of all files together. Where two describe the same object, the first one
    /// in the order of `files` counts, and a report names both.
    pub(super) fn merge(
        files: impl Iterator<Item = (&'a Path, &'a [Manifest])> + Clone,
    ) -> (Self, Vec<Report>) {
        let mut objects = Self::default();
        let mut reports = Vec::new();
        for (file, manifests) in files.clone() {
            for manifest in manifests {
                if objects.insert(manifest) {
                    continue;
                }
                let id = (manifest.kind(), manifest.name());
                let first = files.clone().find(|(_, manifests)| {
                    manifests.iter().any(|other| (other.kind(), other.name()) == id)
                });
                reports.push(Report::Duplicate {
                    object: manifest.display_name(),
                    used: first.map_or(file, |(first, _)| first).to_path_buf(),
                    ignored: file.to_path_buf(),
                });
            }
        }
        (objects, reports)
    }

    /// Adds an object, unless there is one of its name already.
    fn insert(&mut self, manifest: &'a Manifest) -> bool {
        let name = manifest.name();
        match manifest {
            Manifest::Service(object) => add(&mut self.services, name, object),
            Manifest::EndpointSlice(object) => add(&mut self.slices, name, object),
            Manifest::Endpoints(object) => add(&mut self.endpoints, name, object),
            Manifest::Pod(object) => add(&mut self.pods, name, object),
            Manifest::Node(object) => add(&mut self.nodes, name, object),
        }
    }
}

fn add<'a, T>(objects: &mut BTreeMap<Name<'a>, &'a T>, name: Name<'a>, object: &'a T) -> bool {
    match objects.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(object);
            true
        }
        Entry::Occupied(_) => false,
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
            (kind, ("", name)) => format!("{kind} {name}"),
            (kind, (namespace, name)) => format!("{kind} {namespace}/{name}"),
        }
    }

    fn name(&self) -> Name<'_> {
        name_of(match self {
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Endpoints(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
        })
    }
}

pub(super) fn name_of(metadata: &ObjectMeta) -> Name<'_> {
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
