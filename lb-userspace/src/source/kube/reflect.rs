//! From what one watch says to what receivers are told: mark and sweep.
//!
//! A watch that lost its place lists everything again, and does not say what vanished meanwhile. So
//! the names of what was told are kept, with the number of the list that they were last seen in.
//! This module must never keep an object, nor tell of a deletion before a list has ended: until then
//! an object may still come.

use std::{collections::BTreeMap, marker::PhantomData};

use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Endpoints, Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::ServiceCIDR,
};
use kube::Resource;
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use crate::source::{Event, Kind, Object, ObjectKey, mirror, slices::Family};

/// What a watch tells is passed on by one of these.
pub(super) trait Reflect<T> {
    /// An object was created or changed, or is part of a list.
    fn apply(&mut self, object: T, out: &mut dyn FnMut(Event));
    /// An object is gone.
    fn delete(&mut self, object: &T, out: &mut dyn FnMut(Event));
    /// A list begins. It may begin again before it has ended.
    fn begin(&mut self);
    /// A list has ended: what was not in it is gone.
    fn end(&mut self, out: &mut dyn FnMut(Event));
}

/// A kind of object that receivers are told of.
pub(super) trait Told: Resource {
    /// What they are told that it is.
    const KIND: Kind;
    /// Whether they are told of something that is made from it, under other names.
    const MADE: bool = false;
    /// What they are told.
    fn told(self) -> SmallVec<[Object; 1]>;
}

/// Passes objects on.
pub(super) struct Objects<T> {
    kind: PhantomData<T>,
    /// The number of the latest list.
    list: u32,
    /// By `namespace/name`.
    known: FxHashMap<Box<str>, Known>,
}

/// An object that was told.
#[derive(Debug)]
struct Known {
    /// The list that it was last seen in, or that was the latest when it was.
    list: u32,
    /// The names of the slices that were made from it; `None` if it was told as itself.
    made: Option<Box<[Box<str>]>>,
}

impl<T: Told> Objects<T> {
    pub(super) fn new() -> Self {
        Self { kind: PhantomData, list: 0, known: FxHashMap::default() }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Tells that what was known is gone, but for what still has one of the names `kept`.
    fn forget(&self, name: &str, known: Known, kept: &[Box<str>], out: &mut dyn FnMut(Event)) {
        let (namespace, own) = name.split_once('/').unwrap_or(("", name));
        let names = known.made.unwrap_or_else(|| [own.into()].into());
        for name in names {
            if !kept.contains(&name) {
                let (namespace, name) = (namespace.to_owned(), name.into_string());
                out(Event::Delete(ObjectKey { kind: T::KIND, namespace, name }));
            }
        }
    }
}

impl<T: Told> Reflect<T> for Objects<T> {
    fn apply(&mut self, object: T, out: &mut dyn FnMut(Event)) {
        let name = name(&object);
        let objects = object.told();
        let names: Vec<Box<str>> = objects.iter().filter_map(Object::name).map(Box::from).collect();
        let known = Known { list: self.list, made: T::MADE.then(|| names.clone().into()) };
        let before = self.known.insert(name.as_str().into(), known);
        // What takes the place of something comes first: there must not be nothing in between.
        for object in objects {
            out(Event::Apply(object));
        }
        if let Some(before) = before {
            self.forget(&name, before, &names, out);
        }
    }

    fn delete(&mut self, object: &T, out: &mut dyn FnMut(Event)) {
        let name = name(object);
        if let Some(known) = self.known.remove(&*name) {
            self.forget(&name, known, &[], out);
        }
    }

    fn begin(&mut self) {
        self.list += 1;
    }

    fn end(&mut self, out: &mut dyn FnMut(Event)) {
        let list = self.list;
        let gone: Vec<_> = self.known.extract_if(|_, known| known.list != list).collect();
        for (name, known) in gone {
            self.forget(&name, known, &[], out);
        }
    }
}

/// `namespace/name`; the namespace may be empty.
fn name(object: &impl Resource) -> String {
    let meta = object.meta();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&meta.namespace), text(&meta.name))
}

macro_rules! told_as_itself {
    ($($kind:ident),*) => {
        $(impl Told for $kind {
            const KIND: Kind = Kind::$kind;

            fn told(self) -> SmallVec<[Object; 1]> {
                smallvec![Object::$kind(Box::new(self))]
            }
        })*
    };
}

told_as_itself!(Service, EndpointSlice, Node, Pod, Namespace);

impl Told for Endpoints {
    const KIND: Kind = Kind::EndpointSlice;
    const MADE: bool = true;

    fn told(self) -> SmallVec<[Object; 1]> {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let slices =
            |family| mirror::slices((namespace, name), &self, family).into_iter().map(Box::new);
        Family::BOTH.into_iter().flat_map(slices).map(Object::EndpointSlice).collect()
    }
}

/// The cluster's Service networks: all of them are told at each change.
#[derive(Debug, Default)]
pub(super) struct Networks {
    list: u32,
    /// Those that count, by the object's name, with its list as in [`Known`].
    known: BTreeMap<String, (u32, Vec<IpNet>)>,
    told: Option<Vec<IpNet>>,
    listing: bool,
}

impl Networks {
    fn tell(&mut self, out: &mut dyn FnMut(Event)) {
        if self.listing {
            return;
        }
        let mut networks: Vec<_> =
            self.known.values().flat_map(|(_, networks)| networks).copied().collect();
        networks.sort_unstable();
        networks.dedup();
        if self.told.as_ref() != Some(&networks) {
            self.told = Some(networks.clone());
            out(Event::ServiceNetworks(networks));
        }
    }
}

impl Reflect<ServiceCIDR> for Networks {
    fn apply(&mut self, object: ServiceCIDR, out: &mut dyn FnMut(Event)) {
        let texts = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
        let networks = texts.iter().filter_map(|text| text.parse::<IpNet>().ok());
        let networks = networks.map(|network| network.trunc()).collect();
        self.known.insert(name(&object), (self.list, networks));
        self.tell(out);
    }

    fn delete(&mut self, object: &ServiceCIDR, out: &mut dyn FnMut(Event)) {
        self.known.remove(&name(object));
        self.tell(out);
    }

    fn begin(&mut self) {
        self.list += 1;
        self.listing = true;
    }

    fn end(&mut self, out: &mut dyn FnMut(Event)) {
        self.known.retain(|_, (list, _)| *list == self.list);
        self.listing = false;
        self.tell(out);
    }
}

#[cfg(test)]
mod tests;
