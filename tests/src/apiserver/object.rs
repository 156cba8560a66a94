//! One version of one object: its JSON, made once, and what is asked of it without reading that again.
//!
//! It must never change: whoever holds a version, in a list, a watch or the history, keeps it.

use std::{collections::BTreeMap, io};

use anyhow::Result;
use bytes::{Buf as _, Bytes, buf::Chain};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::kind::Kind;

/// What one frame of an answer consists of; an object's JSON is never copied into it.
pub(super) type Data = Chain<Chain<Bytes, Bytes>, Bytes>;

/// Joins the three parts of a frame.
pub(super) fn data(before: Bytes, middle: Bytes, after: Bytes) -> Data {
    before.chain(middle).chain(after)
}

/// A frame without parts.
pub(super) fn plain(bytes: impl Into<Bytes>) -> Data {
    data(bytes.into(), Bytes::new(), Bytes::new())
}

/// Namespace, empty where there is none, and name.
pub(super) type Key = (String, String);

/// A version of an object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Its `resourceVersion`.
    pub(super) version: u64,
    pub(super) labels: BTreeMap<String, String>,
    /// What can be selected by, beside name and namespace.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) uid: String,
    pub(super) created: Option<Time>,
    pub(super) generation: Option<i64>,
    /// When it was asked to go, if it has not gone yet.
    pub(super) deleted: Option<Time>,
    /// With `apiVersion` and `kind` in front, as `k8s-openapi` writes it.
    pub(super) json: Bytes,
}

impl Object {
    /// `object` has all of its metadata but the version.
    pub(super) fn new<K: Kind>(object: &mut K, version: u64) -> Result<Self, io::Error> {
        object.meta_mut().resource_version = Some(version.to_string());
        Ok(Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            version,
            labels: object.labels().clone(),
            fields: object.fields(),
            uid: object.uid().unwrap_or_default(),
            created: object.creation_timestamp(),
            generation: object.meta().generation,
            deleted: object.meta().deletion_timestamp.clone(),
            json: serde_json::to_vec(object)?.into(),
        })
    }

    pub(super) fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    /// The typed object.
    pub(super) fn read<K: Kind>(&self) -> K {
        serde_json::from_slice(&self.json).expect("what was written can be read")
    }

    /// The value of a field that can be selected by; empty, as the real server sees it, if it is
    /// not set.
    pub(super) fn field(&self, name: &str) -> &str {
        match name {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => {
                self.fields.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
            }
        }
    }
}
