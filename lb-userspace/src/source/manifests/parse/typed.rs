//! One document to typed objects.
//!
//! A document is parsed once to learn its kind and once more into the type of that kind, straight
//! from the text, so that every mistake keeps its line. This module must never accept an object
//! that a cluster would refuse for its name or the lack of an address type.

use std::{fmt, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_saphyr::{
    Error, Location, Spanned, from_str_with_options, with_deserializer_from_str_with_options,
};

use super::{
    name::{check_label, check_subdomain},
    options,
    plan::{Plan, Step, Unread, Wanted},
    shape::Shape,
};
use crate::source::manifests::objects::Manifest;

/// Namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Reads one document: its objects, and where each begins. Adds what is not read to `unread`.
pub(super) fn read(
    text: &str,
    unread: &mut Vec<Unread>,
) -> Result<Vec<(Location, Manifest)>, Error> {
    let shape: Spanned<Shape> = from_str_with_options(text, options(text))?;
    let step = Step::of(&shape, unread)?;
    if matches!(step.plan, Plan::Ignore) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let read = |deserializer: serde_saphyr::Deserializer<'_>| {
        Reading { step: &step, found: &mut found }.deserialize(deserializer)
    };
    with_deserializer_from_str_with_options(text, options(text), read)?;
    let checked = found.into_iter().map(|(at, object)| match object {
        Ok(object) => Ok((at, object)),
        Err(msg) => Err(Error::Message { msg, location: at }),
    });
    checked.collect()
}

/// An object, or why a cluster would refuse it.
type Checked = Result<Manifest, String>;

/// Reads what a step describes, and adds it to `found`.
struct Reading<'a> {
    step: &'a Step,
    found: &'a mut Vec<(Location, Checked)>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.step.plan {
            Plan::Read(wanted) => {
                self.found.push((self.step.at, wanted.read(deserializer)?));
                Ok(())
            }
            Plan::Items(steps) => deserializer.deserialize_map(List { steps, found: self.found }),
            Plan::Ignore => IgnoredAny::deserialize(deserializer).map(drop),
        }
    }
}

impl Wanted {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Checked, D::Error> {
        Ok(match self {
            Self::Service => {
                let mut object = Service::deserialize(deserializer)?;
                complete_name(&mut object.metadata, check_label)
                    .map(|()| Manifest::Service(Arc::new(object)))
            }
            Self::EndpointSlice => {
                let mut object = EndpointSlice::deserialize(deserializer)?;
                complete_name(&mut object.metadata, check_subdomain)
                    .and_then(|()| complete_slice(&mut object))
                    .map(|()| Manifest::EndpointSlice(Arc::new(object)))
            }
            Self::Endpoints => {
                let mut object = Endpoints::deserialize(deserializer)?;
                complete_name(&mut object.metadata, check_subdomain)
                    .map(|()| Manifest::Endpoints(Arc::new(object)))
            }
            Self::Pod => {
                let mut object = Pod::deserialize(deserializer)?;
                complete_name(&mut object.metadata, check_subdomain)
                    .map(|()| Manifest::Pod(Arc::new(object)))
            }
            Self::Node => {
                let mut object = Node::deserialize(deserializer)?;
                check_cluster_name(&mut object.metadata, check_subdomain)
                    .map(|()| Manifest::Node(Arc::new(object)))
            }
            Self::Namespace => {
                let mut object = Namespace::deserialize(deserializer)?;
                check_cluster_name(&mut object.metadata, check_label)
                    .map(|()| Manifest::Namespace(Arc::new(object)))
            }
        })
    }
}

fn complete_name(
    metadata: &mut ObjectMeta,
    check: impl Fn(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err("the object has no `metadata.name`; each object needs one".to_owned());
    }
    check("metadata.name", name)?;
    match metadata.namespace.as_deref() {
        None | Some("") => metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned()),
        Some(namespace) => check_label("metadata.namespace", namespace)?,
    }
    Ok(())
}

/// For kinds that are in no namespace, whatever the object says.
fn check_cluster_name(
    metadata: &mut ObjectMeta,
    check: impl Fn(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    metadata.namespace = None;
    let checked = complete_name(metadata, check);
    metadata.namespace = None;
    checked
}

/// Fills in what the API server would: a port without a name is the unnamed port, of TCP.
fn complete_slice(slice: &mut EndpointSlice) -> Result<(), String> {
    if !["IPv4", "IPv6", "FQDN"].contains(&slice.address_type.as_str()) {
        return Err("the EndpointSlice needs an `addressType` of IPv4, IPv6 or FQDN".to_owned());
    }
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
    }
    Ok(())
}

/// Reads a list's `items`, and ignores its other fields.
struct List<'a> {
    steps: &'a [Step],
    found: &'a mut Vec<(Location, Checked)>,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key::<String>()? {
            if field == "items" {
                map.next_value_seed(Items { steps: self.steps, found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The sequence of a list's items. Nothing stands for an empty one.
struct Items<'a> {
    steps: &'a [Step],
    found: &'a mut Vec<(Location, Checked)>,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for step in self.steps {
            items.next_element_seed(Reading { step, found: self.found })?;
        }
        // The plan has a step for each item, so this only takes the end of the sequence.
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
