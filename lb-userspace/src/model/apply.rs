//! From events to what is known: reads an object, keeps what counts, and marks the Services that it
//! touches.
//!
//! This module must never compute what the caller is told.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use rustc_hash::FxHashSet;

use super::{
    Entry, Model, address, api_server,
    claims::Claim,
    news,
    service::Spec,
    slice::{self, Slice},
    uses::Use,
    wants::wants,
};
use crate::source::{Event, Kind, Object, ObjectKey};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

impl Model {
    /// Takes in one event of a source.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Apply(Object::Service(object)) => self.apply_service(&object),
            Event::Apply(Object::EndpointSlice(object)) => self.apply_slice(&object),
            Event::Apply(Object::Node(object)) => self.apply_node(&object),
            Event::Apply(Object::Pod(_) | Object::Namespace(_)) | Event::ServiceNetworks(_) => {}
            Event::Delete(key) => self.delete(&key),
            Event::LocalAddresses(addresses) => self.set_local_addresses(addresses),
            Event::Synced => self.synced = true,
        }
    }

    fn apply_service(&mut self, object: &Service) {
        let service =
            self.service_name(&full_name(&object.metadata.namespace, &object.metadata.name));
        let spec = Spec::new(&service, object, self.node.name.is_some());
        let old = self.services.get(&service).and_then(|entry| entry.spec.as_ref());
        if old != Some(&spec) {
            let known = old.map(|old| &*old.notices);
            self.notices.extend(news(known, &spec.notices));
            self.replace_spec(&service, Some(spec));
        }
    }

    fn apply_slice(&mut self, object: &EndpointSlice) {
        let name = full_name(&object.metadata.namespace, &object.metadata.name);
        let Some(service) = slice::service_of(object) else {
            self.remove_slice(&name);
            return;
        };
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let service = self.service_name(&format!("{namespace}/{service}"));
        let name = match self.owners.get_key_value(&*name) {
            Some((known, owner)) if *owner == service => known.clone(),
            _ => {
                self.remove_slice(&name);
                let name: Arc<str> = name.into();
                self.owners.insert(name.clone(), service.clone());
                name
            }
        };
        let slice = Slice::new(name, object, self.node.name.as_deref());
        let entry = self.services.entry(service.clone()).or_default();
        match entry.slices.binary_search_by(|other| other.name.cmp(&slice.name)) {
            // An update of annotations alone, as the endpoints controller makes them.
            Ok(index) if entry.slices[index] == slice => return,
            Ok(index) => {
                self.notices.extend(news(Some(&entry.slices[index].notices), &slice.notices));
                entry.slices[index] = slice;
            }
            Err(index) => {
                self.notices.extend(news(None, &slice.notices));
                entry.slices.reserve_exact(1);
                entry.slices.insert(index, slice);
            }
        }
        self.touch(&service);
    }

    fn apply_node(&mut self, object: &Node) {
        if self.node.name.is_some() && object.metadata.name == self.node.name {
            let labels = object.metadata.labels.as_ref();
            self.set_zone(labels.and_then(|labels| labels.get(ZONE_LABEL)).cloned());
            let changed = self.node.set_stated(stated_addresses(object));
            self.touch_users(&changed);
        }
    }

    fn delete(&mut self, key: &ObjectKey) {
        let name = format!("{}/{}", key.namespace, key.name);
        match key.kind {
            Kind::Service => {
                if let Some((service, _)) = self.services.get_key_value(&*name) {
                    let service = service.clone();
                    self.replace_spec(&service, None);
                }
            }
            Kind::EndpointSlice => self.remove_slice(&name),
            Kind::Node if self.node.name.as_ref() == Some(&key.name) => {
                self.set_zone(None);
                let changed = self.node.set_stated(Vec::new());
                self.touch_users(&changed);
            }
            Kind::Node | Kind::Pod | Kind::Namespace => {}
        }
    }

    fn replace_spec(&mut self, service: &Arc<str>, spec: Option<Spec>) {
        self.unclaim(service);
        self.forget_uses(service);
        let entry = self.services.entry(service.clone()).or_default();
        entry.spec = spec;
        self.note_uses(service);
        self.claim(service);
        self.touch(service);
    }

    /// Marks a Service whose sets may differ now.
    fn touch(&mut self, service: &Arc<str>) {
        if let Some(entry) = self.services.get_mut(service) {
            entry.stale = true;
            self.touched.insert(service.clone());
        }
        if **service == *api_server::SERVICE {
            self.follow_api_server();
        }
    }

    /// Claims what a Service wants now.
    fn claim(&mut self, service: &Arc<str>) {
        if let Some(spec) = self.services.get(service).and_then(|entry| entry.spec.as_ref()) {
            for want in wants(spec, &self.node) {
                let claim = Claim::new(service, spec.created, want.kind, want.port);
                self.claims.add(want.key, claim);
            }
        }
    }

    /// Undoes [`Self::claim`]; neither the Service nor the node may have changed since.
    fn unclaim(&mut self, service: &Arc<str>) {
        if let Some(spec) = self.services.get(service).and_then(|entry| entry.spec.as_ref()) {
            for want in wants(spec, &self.node) {
                self.claims.remove(want.key, service);
                self.unclaimed.insert(want.key);
            }
        }
    }

    fn note_uses(&mut self, service: &Arc<str>) {
        if let Some(spec) = self.services.get(service).and_then(|entry| entry.spec.as_ref()) {
            for &address in &spec.cluster_ips {
                self.uses.add(address, Use::ClusterIp, service);
                self.touched.extend(self.uses.users(address, Use::Named).cloned());
            }
            for (_, address) in spec.named_addresses() {
                self.uses.add(address, Use::Named, service);
            }
        }
    }

    /// Undoes [`Self::note_uses`].
    fn forget_uses(&mut self, service: &Arc<str>) {
        if let Some(spec) = self.services.get(service).and_then(|entry| entry.spec.as_ref()) {
            for &address in &spec.cluster_ips {
                self.uses.remove(address, Use::ClusterIp, service);
                self.touched.extend(self.uses.users(address, Use::Named).cloned());
            }
            for (_, address) in spec.named_addresses() {
                self.uses.remove(address, Use::Named, service);
            }
        }
    }

    fn remove_slice(&mut self, name: &str) {
        let Some((_, service)) = self.owners.remove_entry(name) else { return };
        if let Some(entry) = self.services.get_mut(&service) {
            entry.slices.retain(|slice| *slice.name != *name);
        }
        self.touch(&service);
    }

    fn set_zone(&mut self, zone: Option<String>) {
        if self.node.zone == zone {
            return;
        }
        self.node.zone = zone;
        let hinted = |entry: &Entry| entry.slices.iter().any(Slice::has_zone_hints);
        let services = self.services.iter().filter(|(_, entry)| hinted(entry));
        let services: Vec<_> = services.map(|(service, _)| service.clone()).collect();
        services.iter().for_each(|service| self.touch(service));
    }

    fn set_local_addresses(&mut self, addresses: Vec<IpAddr>) {
        let addresses = self.node.read(addresses);
        let before = self.node.addresses();
        if *before == addresses {
            return;
        }
        let mut reclaimed = FxHashSet::default();
        for address in before.difference(&addresses) {
            reclaimed.extend(self.uses.users(address, Use::ClusterIp).cloned());
            self.touched.extend(self.uses.users(address, Use::Named).cloned());
        }
        if before.moves_node_ports(&addresses) {
            let with_node_ports = self
                .services
                .iter()
                .filter(|(_, entry)| entry.spec.as_ref().is_some_and(Spec::has_node_ports));
            reclaimed.extend(with_node_ports.map(|(service, _)| service.clone()));
        }
        for service in &reclaimed {
            self.unclaim(service);
        }
        self.node.set_addresses(addresses);
        for service in &reclaimed {
            self.claim(service);
        }
        self.touched.extend(reclaimed);
    }

    /// The one shared copy of a Service's name.
    fn service_name(&self, name: &str) -> Arc<str> {
        self.services.get_key_value(name).map_or_else(|| name.into(), |(known, _)| known.clone())
    }
}

/// The addresses by which others reach the node, as its status has them.
fn stated_addresses(object: &Node) -> Vec<IpAddr> {
    let status = object.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let ips = addresses.iter().filter(|it| matches!(&*it.type_, "InternalIP" | "ExternalIP"));
    ips.filter_map(|ip| address::parse(&ip.address)).map(|ip| ip.to_canonical()).collect()
}

fn full_name(namespace: &Option<String>, name: &Option<String>) -> String {
    format!("{}/{}", namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
}
