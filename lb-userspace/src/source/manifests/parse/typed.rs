//! One document to typed objects, by its `apiVersion` and `kind`.
//!
//! A document is parsed once to learn its kind and once more into the type of that kind, straight
//! from the text, so that every mistake keeps its line. This module must never accept an object
//! that a cluster would refuse for its lack of a name or an address type.

use std::{fmt, sync::Arc};

use k8s_openapi::{
    Resource,
    api::{
        core::v1::{Endpoints, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_saphyr::{
    Error, Location, Spanned, from_str_with_options, with_deserializer_from_str_with_options,
};

use super::options;
use crate::source::manifests::objects::Manifest;

/// Namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// The kinds that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Service,
    EndpointSlice,
    Endpoints,
    Pod,
    Node,
}

/// What tells the type of a document.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    api_version: String,
    kind: String,
}

/// The items of a list.
#[derive(Debug, serde::Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

impl Wanted {
    fn of(header: &Header) -> Option<Self> {
        Self::named(&header.api_version, &header.kind)
    }

    fn named(api_version: &str, kind: &str) -> Option<Self> {
        match (api_version, kind) {
            (Service::API_VERSION, Service::KIND) => Some(Self::Service),
            (EndpointSlice::API_VERSION, EndpointSlice::KIND) => Some(Self::EndpointSlice),
            (Endpoints::API_VERSION, Endpoints::KIND) => Some(Self::Endpoints),
            (Pod::API_VERSION, Pod::KIND) => Some(Self::Pod),
            (Node::API_VERSION, Node::KIND) => Some(Self::Node),
            _ => None,
        }
    }
}

/// Adds the objects of one document to `objects`.
pub(super) fn read(text: &str, objects: &mut Vec<Manifest>) -> Result<(), Error> {
    let header: Header = from_str_with_options(text, options(text))?;
    if header.kind.is_empty() {
        return Err(Error::custom("the document has no `kind`; each object needs one"));
    }
    if let Some(wanted) = Wanted::of(&header) {
        let object = with(text, |deserializer| wanted.deserialize(deserializer))?;
        objects.push(object.map_err(Error::custom)?);
        return Ok(());
    }
    let kinds = match header.kind.strip_suffix("List") {
        Some("") if header.api_version == "v1" => {
            let items: Items<Header> = from_str_with_options(text, options(text))?;
            Kinds::Each(items.items.iter().map(Wanted::of).collect())
        }
        // The items of a typed list need not repeat their kind.
        Some(kind) if let Some(wanted) = Wanted::named(&header.api_version, kind) => {
            Kinds::All(wanted)
        }
        _ => {
            tracing::debug!(header.api_version, header.kind, "object ignored");
            return Ok(());
        }
    };
    let items = with(text, |deserializer| deserializer.deserialize_map(List(&kinds)))?;
    for (index, item) in items {
        let object = item.map_err(|reason| Error::Message {
            msg: reason.to_owned(),
            location: item_location(text, index),
        })?;
        objects.push(object);
    }
    Ok(())
}

fn with<T>(
    text: &str,
    read: impl for<'de> FnOnce(serde_saphyr::Deserializer<'de>) -> Result<T, Error>,
) -> Result<T, Error> {
    with_deserializer_from_str_with_options(text, options(text), read)
}

/// Where an item of a list begins. Costs another pass, so it is for the way of an error.
fn item_location(text: &str, index: usize) -> Location {
    let items = from_str_with_options::<Items<Spanned<IgnoredAny>>>(text, options(text));
    let location = items.ok().and_then(|items| Some(items.items.get(index)?.referenced));
    location.unwrap_or(Location::UNKNOWN)
}

/// An object, or why a cluster would refuse it.
type Checked = Result<Manifest, &'static str>;

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = Checked;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Checked, D::Error> {
        Ok(match self {
            Self::Service => {
                let mut object = Service::deserialize(deserializer)?;
                complete_name(&mut object.metadata).map(|()| Manifest::Service(Arc::new(object)))
            }
            Self::EndpointSlice => {
                let mut object = EndpointSlice::deserialize(deserializer)?;
                complete_name(&mut object.metadata)
                    .and_then(|()| complete_slice(&mut object))
                    .map(|()| Manifest::EndpointSlice(Arc::new(object)))
            }
            Self::Endpoints => {
                let mut object = Endpoints::deserialize(deserializer)?;
                complete_name(&mut object.metadata).map(|()| Manifest::Endpoints(Arc::new(object)))
            }
            Self::Pod => {
                let mut object = Pod::deserialize(deserializer)?;
                complete_name(&mut object.metadata).map(|()| Manifest::Pod(Arc::new(object)))
            }
            Self::Node => {
                let mut object = Node::deserialize(deserializer)?;
                let checked = complete_name(&mut object.metadata);
                object.metadata.namespace = None;
                checked.map(|()| Manifest::Node(Arc::new(object)))
            }
        })
    }
}

fn complete_name(metadata: &mut ObjectMeta) -> Result<(), &'static str> {
    if metadata.name.as_deref().unwrap_or_default().is_empty() {
        return Err("the object has no `metadata.name`; each object needs one");
    }
    if metadata.namespace.as_deref().unwrap_or_default().is_empty() {
        metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
    }
    Ok(())
}

/// Fills in what the API server would: a port without a name is the unnamed port, of TCP.
fn complete_slice(slice: &mut EndpointSlice) -> Result<(), &'static str> {
    if !["IPv4", "IPv6", "FQDN"].contains(&slice.address_type.as_str()) {
        return Err("the EndpointSlice needs an `addressType` of IPv4, IPv6 or FQDN");
    }
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
    }
    Ok(())
}

/// What the items of a list are.
enum Kinds {
    All(Wanted),
    /// By position; `None` is ignored.
    Each(Vec<Option<Wanted>>),
}

/// Reads a list's `items`, with their positions, and ignores its other fields.
struct List<'a>(&'a Kinds);

impl<'de> Visitor<'de> for List<'_> {
    type Value = Vec<(usize, Checked)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        while let Some(field) = map.next_key::<String>()? {
            if field == "items" {
                objects = map.next_value_seed(ItemsOf(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(objects)
    }
}

/// The sequence of a list's items.
struct ItemsOf<'a>(&'a Kinds);

impl<'de> DeserializeSeed<'de> for ItemsOf<'_> {
    type Value = Vec<(usize, Checked)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsOf<'_> {
    type Value = Vec<(usize, Checked)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        for index in 0.. {
            let wanted = match self.0 {
                Kinds::All(wanted) => Some(*wanted),
                Kinds::Each(kinds) => kinds.get(index).copied().flatten(),
            };
            let more = match wanted {
                Some(wanted) => {
                    let object = items.next_element_seed(wanted)?;
                    objects.extend(object.map(|object| (index, object)));
                    objects.last().is_some_and(|(last, _)| *last == index)
                }
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(objects)
    }
}
