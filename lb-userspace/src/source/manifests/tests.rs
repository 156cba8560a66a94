//! The whole source, on folders of its own. Waits end when what they wait for is there, and fail
//! after a generous while.

mod loading;
mod logging;
mod watching;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use super::*;

const AT_MOST: Duration = Duration::from_secs(20);

/// A Service with a label that tells its versions apart.
fn service(name: &str, version: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  labels: {{version: \"{version}\"}}\n\
         spec: {{clusterIP: 10.96.0.1, selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

/// A Pod that the Service of this name selects.
fn pod(app: &str, name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\n\
         status: {{podIP: {ip}}}\n"
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("a file written");
}

/// Renames a new file over the old one, so that no scan can see it half written.
fn replace(dir: &Path, name: &str, text: &str) {
    write(dir, ".new", text);
    fs::rename(dir.join(".new"), dir.join(name)).expect("a file renamed");
}

/// What a receiver of events knows.
#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Object>,
    synced: bool,
    events: usize,
}

impl State {
    fn take(&mut self, event: Event) {
        self.events += 1;
        match event {
            Event::Apply(object) => {
                let metadata = match &object {
                    Object::Service(object) => &object.metadata,
                    Object::EndpointSlice(object) => &object.metadata,
                    Object::Node(object) => &object.metadata,
                    Object::Pod(object) => &object.metadata,
                    Object::Namespace(object) => &object.metadata,
                };
                let kind = match &object {
                    Object::Service(_) => Kind::Service,
                    Object::EndpointSlice(_) => Kind::EndpointSlice,
                    Object::Node(_) => Kind::Node,
                    Object::Pod(_) => Kind::Pod,
                    Object::Namespace(_) => Kind::Namespace,
                };
                self.objects.insert(key(kind, name_of(metadata)), object);
            }
            Event::Delete(key) => {
                assert!(self.objects.remove(&key).is_some(), "{key:?} was not there");
            }
            Event::LocalAddresses(_) | Event::ServiceNetworks(_) => {
                panic!("manifests know neither interfaces nor networks")
            }
            Event::Synced => {
                assert!(!self.synced, "Synced came twice");
                self.synced = true;
            }
        }
    }

    /// Names of the Services, with their versions.
    fn services(&self) -> Vec<String> {
        self.objects
            .values()
            .filter_map(|object| match object {
                Object::Service(object) => Some(&object.metadata),
                _ => None,
            })
            .map(|metadata| {
                let version = metadata.labels.as_ref().and_then(|labels| labels.get("version"));
                format!(
                    "{} {}",
                    metadata.name.as_deref().unwrap_or_default(),
                    version.map(String::as_str).unwrap_or_default()
                )
            })
            .collect()
    }

    /// All addresses in all slices.
    fn addresses(&self) -> Vec<String> {
        self.objects
            .values()
            .filter_map(|object| match object {
                Object::EndpointSlice(object) => object.endpoints.as_ref(),
                _ => None,
            })
            .flatten()
            .flat_map(|endpoint| endpoint.addresses.clone())
            .collect()
    }
}
