//! A folder of YAML manifests as a source: a cluster's objects without a cluster.
//!
//! Files named `*.yaml`, `*.yml` and `*.json` count, not those of sub-folders. They hold Services,
//! EndpointSlices, Endpoints, Pods, Nodes and Namespaces, alone, in multi-document files, or in lists;
//! other kinds are ignored, with a line in the log for each file that has some. To change a file, better
//! rename a new one over it: one that is edited in place may be read while it is half written.
//!
//! ```text
//!  files ── folder ──> manifests ── objects ──> all, each once ── controller ──> + made slices
//!                                                                            └── difference ──> events
//! ```
//!
//! Whenever anything changed, everything is put together anew, and only the difference goes out.
//! [`Event::Synced`] waits until every file has been in order once, so that a broken file at the
//! start cannot make a receiver take away what it is meant to hold. After that a broken file keeps
//! what was loaded from it, and a file that goes counts for another 300 ms (2 s if nothing is left),
//! since editors remove what they are about to write anew.
//!
//! This module must never send an object that did not change.

mod controller;
mod error;
mod findings;
mod folder;
mod objects;
mod parse;
#[cfg(test)]
mod tests;
mod watch;
#[cfg(feature = "testing")]
mod written;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Instant};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};

#[cfg(feature = "testing")]
pub use self::written::{Mistake, Written};
pub use self::{
    error::{Error, Place, Report, Standing},
    watch::{Watcher, watch},
};
use self::{
    findings::Findings,
    folder::Folder,
    objects::{Name, Objects, name_of},
};
use super::{Event, Kind, Object, ObjectKey};

/// Loads a folder once: all objects, then [`Event::Synced`], unless a file could not be read
/// without error: then what was sent is a mere part of what the folder is meant to hold.
///
/// # Errors
/// [`Error::Folder`] if the folder cannot be listed. Problems in single files go to `report`.
#[cfg(test)]
fn load(
    dir: &Path,
    mut out: impl FnMut(Event),
    mut report: impl FnMut(Report),
) -> Result<(), Error> {
    let mut source = Source::new(dir);
    source
        .scan(Instant::now(), &mut out, &mut report)
        .map_err(|source| Error::Folder { dir: dir.to_path_buf(), source })
}

/// A folder and what was told of it.
#[derive(Debug)]
struct Source {
    folder: Folder,
    told: Telling,
    synced: bool,
    findings: Findings,
}

/// An object that was sent, shared with the file that it came from.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Node(Arc<Node>),
    Pod(Arc<Pod>),
    Namespace(Arc<Namespace>),
}

/// All that was sent and is there still.
#[derive(Debug, Default)]
struct Telling(BTreeMap<ObjectKey, Told>);

impl Telling {
    /// Sends the difference that makes `now` of what was sent before.
    fn advance(&mut self, now: BTreeMap<ObjectKey, Told>, out: &mut impl FnMut(Event)) {
        // A Service comes after its slices and goes before them, so that it is never there
        // without the endpoints that it is to have.
        for (key, object) in now.iter().rev() {
            if self.0.get(key) != Some(object) {
                out(Event::Apply(object.to_object()));
            }
        }
        for key in self.0.keys().filter(|key| !now.contains_key(*key)) {
            out(Event::Delete(key.clone()));
        }
        self.0 = now;
    }
}

impl Source {
    fn new(dir: &Path) -> Self {
        Self {
            folder: Folder::new(dir),
            told: Telling::default(),
            synced: false,
            findings: Findings::default(),
        }
    }

    /// Reads what changed in the folder and sends what this changes. [`Event::Synced`] follows the
    /// first time that every file has been in order once. `now` never goes back from scan to scan.
    fn scan(
        &mut self,
        now: Instant,
        out: &mut impl FnMut(Event),
        report: &mut impl FnMut(Report),
    ) -> std::io::Result<()> {
        let changed = self.folder.scan(now, report)?;
        if changed {
            self.tell(out, report);
        }
        let first = !self.synced && self.folder.is_complete();
        if first {
            self.synced = true;
            out(Event::Synced);
        }
        if changed || first {
            self.log(first);
        }
        Ok(())
    }

    fn log(&self, first: bool) {
        let count = |kind| self.told.0.keys().filter(|key| key.kind == kind).count();
        let (services, slices) = (count(Kind::Service), count(Kind::EndpointSlice));
        let (files, synced) = (self.folder.len(), self.synced);
        tracing::info!(files, services, slices, synced, "manifests read");
        if first && services == 0 {
            tracing::warn!("no manifest describes a Service, so no connection is balanced yet");
        }
    }

    /// When to scan again at the latest, if nothing happens before.
    fn due(&self) -> Option<Instant> {
        self.folder.due()
    }

    /// Sends the difference between what the files describe now and what was sent before.
    fn tell(&mut self, out: &mut impl FnMut(Event), report: &mut impl FnMut(Report)) {
        let (mut objects, mut findings) = Objects::merge(self.folder.objects());
        objects.fill_up(self.folder.gone());
        findings.extend(self.folder.misspelt());
        self.findings.renew(findings, report);
        self.told.advance(desired(&objects), out);
    }
}

/// Everything that a receiver of events is to know.
fn desired(objects: &Objects<'_>) -> BTreeMap<ObjectKey, Told> {
    let made = controller::slices(objects).into_iter().map(|slice| {
        let key = key(Kind::EndpointSlice, name_of(&slice.metadata));
        (key, Told::EndpointSlice(Arc::new(slice)))
    });
    let mut now: BTreeMap<_, _> = made.collect();
    for (&name, &object) in &objects.services {
        now.insert(key(Kind::Service, name), Told::Service(object.clone()));
    }
    for (&name, &object) in &objects.slices {
        now.insert(key(Kind::EndpointSlice, name), Told::EndpointSlice(object.clone()));
    }
    for (&name, &object) in &objects.nodes {
        now.insert(key(Kind::Node, name), Told::Node(object.clone()));
    }
    for (&name, &object) in &objects.pods {
        now.insert(key(Kind::Pod, name), Told::Pod(object.clone()));
    }
    for (&name, &object) in &objects.namespaces {
        now.insert(key(Kind::Namespace, name), Told::Namespace(object.clone()));
    }
    now
}

fn key(kind: Kind, (namespace, name): Name<'_>) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

impl Told {
    fn to_object(&self) -> Object {
        match self {
            Self::Service(object) => Object::Service(Box::new(Service::clone(object))),
            Self::EndpointSlice(object) => {
                Object::EndpointSlice(Box::new(EndpointSlice::clone(object)))
            }
            Self::Node(object) => Object::Node(Box::new(Node::clone(object))),
            Self::Pod(object) => Object::Pod(Box::new(Pod::clone(object))),
            Self::Namespace(object) => Object::Namespace(Box::new(Namespace::clone(object))),
        }
    }
}
