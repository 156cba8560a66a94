//! What to read a document as: decided by the `apiVersion` and `kind` of it and of its items.
//!
//! This module must never look into an object further than that.

use k8s_openapi::{
    Resource,
    api::{
        core::v1::{Endpoints, Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use serde_saphyr::{Error, Location, Spanned};

use super::shape::Shape;

/// The kinds that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Service,
    EndpointSlice,
    Endpoints,
    Pod,
    Node,
    Namespace,
}

const WANTED: [(Wanted, &str, &str); 6] = [
    (Wanted::Service, Service::API_VERSION, Service::KIND),
    (Wanted::EndpointSlice, EndpointSlice::API_VERSION, EndpointSlice::KIND),
    (Wanted::Endpoints, Endpoints::API_VERSION, Endpoints::KIND),
    (Wanted::Pod, Pod::API_VERSION, Pod::KIND),
    (Wanted::Node, Node::API_VERSION, Node::KIND),
    (Wanted::Namespace, Namespace::API_VERSION, Namespace::KIND),
];

/// Version and kind of a list of anything.
const LIST: (&str, &str) = ("v1", "List");

/// A document, or an item of a list, and what it is to be read as.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) at: Location,
    pub(super) plan: Plan,
}

#[derive(Debug)]
pub(super) enum Plan {
    Read(Wanted),
    /// A list, by its items.
    Items(Vec<Step>),
    Ignore,
}

/// An object that is not read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) at: Location,
    pub(super) api_version: String,
    pub(super) kind: String,
    /// The version and kind that were meant, where that is as good as sure.
    pub(super) meant: Option<(&'static str, String)>,
}

impl Step {
    /// Adds what is not read to `unread`.
    ///
    /// # Errors
    /// If an object lacks its `apiVersion` or `kind`.
    pub(super) fn of(shape: &Spanned<Shape>, unread: &mut Vec<Unread>) -> Result<Self, Error> {
        let at = shape.referenced;
        let error = |msg: &str| Error::Message { msg: msg.to_owned(), location: at };
        let Shape::Map(header) = &shape.value else {
            return Err(error("this is no object: each has an `apiVersion`, a `kind` and more"));
        };
        let kind = header.kind().ok_or_else(|| {
            error("the object has no `kind`; each object needs one, such as `kind: Service`")
        })?;
        let api_version = header.api_version().ok_or_else(|| {
            error("the object has no `apiVersion`; each object needs one, such as `apiVersion: v1`")
        })?;
        let plan = if let Some(wanted) = named(api_version, kind) {
            Plan::Read(wanted)
        } else if (api_version, kind) == LIST {
            let steps = header.items().iter().map(|item| Self::of(item, unread));
            Plan::Items(steps.collect::<Result<_, _>>()?)
        } else if let Some(kind) = kind.strip_suffix("List")
            && let Some(wanted) = named(api_version, kind)
        {
            // The items of a typed list need not repeat their kind.
            let step = |item: &Spanned<_>| Self { at: item.referenced, plan: Plan::Read(wanted) };
            Plan::Items(header.items().iter().map(step).collect())
        } else {
            let meant = meant(api_version, kind);
            let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
            unread.push(Unread { at, api_version, kind, meant });
            Plan::Ignore
        };
        Ok(Self { at, plan })
    }
}

fn named(api_version: &str, kind: &str) -> Option<Wanted> {
    let known = WANTED.iter().find(|known| (known.1, known.2) == (api_version, kind));
    known.map(|known| known.0)
}

/// The version and kind that were meant by one that does not count: spelt alike but for the case
/// of its letters, or of another version of the same group.
fn meant(api_version: &str, kind: &str) -> Option<(&'static str, String)> {
    let plain = WANTED.iter().map(|&(_, version, kind)| (version, kind.to_owned()));
    let lists = WANTED.iter().map(|&(_, version, kind)| (version, format!("{kind}List")));
    let mut known = plain.chain(lists).chain([(LIST.0, LIST.1.to_owned())]);
    known.find(|(version, known)| {
        known.eq_ignore_ascii_case(kind) && (known != kind || group(version) == group(api_version))
    })
}

/// The API group; empty for the core's.
fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
