//! What a document says of itself before anyone knows what it is.
//!
//! This module must never fail on a valid document: what is no manifest may have fields of the
//! same names, with anything in them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Part of a document: what tells an object's type, and lists.
#[derive(Debug)]
pub(super) enum Shape {
    Text(String),
    Map(Box<Header>),
    List(Vec<Spanned<Shape>>),
    Other,
}

/// The fields that count; `None` where a field is missing.
#[derive(Debug, Default)]
pub(super) struct Header {
    api_version: Option<Shape>,
    kind: Option<Shape>,
    items: Option<Shape>,
}

impl Header {
    /// `None` unless it is text.
    pub(super) fn api_version(&self) -> Option<&str> {
        text(self.api_version.as_ref())
    }

    /// `None` unless it is text.
    pub(super) fn kind(&self) -> Option<&str> {
        text(self.kind.as_ref())
    }

    /// None unless it is a list.
    pub(super) fn items(&self) -> &[Spanned<Shape>] {
        match &self.items {
            Some(Shape::List(items)) => items,
            _ => &[],
        }
    }
}

fn text(shape: Option<&Shape>) -> Option<&str> {
    match shape {
        Some(Shape::Text(text)) => Some(text),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut header = Header::default();
        while let Some(field) = map.next_key::<String>()? {
            let known = match field.as_str() {
                "apiVersion" => &mut header.api_version,
                "kind" => &mut header.kind,
                "items" => &mut header.items,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *known = Some(map.next_value()?);
        }
        Ok(Shape::Map(Box::new(header)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}
