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
        core::v1::{Endpoints, Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use rustc_hash::FxHashMap;

use super::{Place, Report};

/// An object as a file describes it, with its name and namespace filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Manifest {
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Endpoints(Arc<Endpoints>),
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    Namespace(Arc<Namespace>),
}

/// An object and where its file describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub(super) object: Manifest,
    pub(super) spot: Spot,
}

/// A place in some file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Counts from 1 the documents that hold anything.
    pub(super) document: usize,
    /// Counts from 1, in the file.
    pub(super) line: usize,
}

impl Spot {
    pub(super) fn of(self, file: &Path) -> Place {
        Place { file: file.to_path_buf(), document: self.document, line: self.line }
    }
}

/// Namespace and name. The namespace of a Node and of a Namespace is empty.
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
    pub(super) namespaces: BTreeMap<Name<'a>, &'a Arc<Namespace>>,
}

impl<'a> Objects<'a> {
    /// Brings the objects of all files together. Where two describe the same object, the first one
    /// in the order of `files` counts. Reports name what is left out.
    pub(super) fn merge(
        files: impl Iterator<Item = (&'a Path, &'a [Described])> + Clone,
    ) -> (Self, Vec<Report>) {
        let mut objects = Self::default();
        let mut duplicates = Vec::new();
        let mut reports = Vec::new();
        for (file, described) in flatten(files.clone()) {
            let Described { object, spot } = described;
            if !objects.insert(object) {
                duplicates.push((file, described));
            } else if lacks_cluster_ip(object) {
                let (place, object) = (spot.of(file), object.display_name());
                reports.push(Report::NoClusterIp { place, object });
            }
        }
        if !duplicates.is_empty() {
            let mut first = FxHashMap::default();
            for (file, Described { object, spot }) in flatten(files) {
                first.entry(object.id()).or_insert_with(|| spot.of(file));
            }
            let duplicates = duplicates.into_iter().filter_map(|(file, described)| {
                let object = &described.object;
                Some(Report::Duplicate {
                    object: object.display_name(),
                    used: first.get(&object.id())?.clone(),
                    ignored: described.spot.of(file),
                })
            });
            reports.extend(duplicates);
        }
        (objects, reports)
    }

    /// Adds what is not there yet, without a report.
    pub(super) fn fill_up(&mut self, more: impl Iterator<Item = &'a Described>) {
        for described in more {
            self.insert(&described.object);
        }
    }

    /// Adds an object, unless there is one of its name already.
    pub(super) fn insert(&mut self, manifest: &'a Manifest) -> bool {
        let name = manifest.name();
        match manifest {
            Manifest::Service(object) => add(&mut self.services, name, object),
            Manifest::EndpointSlice(object) => add(&mut self.slices, name, object),
            Manifest::Endpoints(object) => add(&mut self.endpoints, name, object),
            Manifest::Pod(object) => add(&mut self.pods, name, object),
            Manifest::Node(object) => add(&mut self.nodes, name, object),
            Manifest::Namespace(object) => add(&mut self.namespaces, name, object),
        }
    }
}

/// All objects of some files, with their files.
fn flatten<'a>(
    files: impl Iterator<Item = (&'a Path, &'a [Described])>,
) -> impl Iterator<Item = (&'a Path, &'a Described)> {
    files.flat_map(|(file, objects)| objects.iter().map(move |object| (file, object)))
}

/// Whether this is a Service that waits for an address, which a cluster would assign.
fn lacks_cluster_ip(object: &Manifest) -> bool {
    let Manifest::Service(service) = object else { return false };
    let spec = service.spec.as_ref();
    let external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    let addresses = spec
        .into_iter()
        .flat_map(|spec| spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()));
    !external && addresses.into_iter().all(String::is_empty)
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
            Self::Namespace(_) => "Namespace",
        }
    }

    /// For people: kind, namespace and name.
    pub(super) fn display_name(&self) -> String {
        match (self.kind(), self.name()) {
            (kind, ("", name)) => format!("{kind} {name}"),
            (kind, (namespace, name)) => format!("{kind} {namespace}/{name}"),
        }
    }

    /// What no two objects share.
    pub(super) fn id(&self) -> (&'static str, Name<'_>) {
        (self.kind(), self.name())
    }

    fn name(&self) -> Name<'_> {
        name_of(match self {
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Endpoints(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
        })
    }
}

pub(super) fn name_of(metadata: &ObjectMeta) -> Name<'_> {
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
