//! The parameters of a request, as its query names them.
//!
//! A value that cannot be read must never pass for one that is missing: the real server refuses it.

use std::collections::BTreeMap;

use super::{
    resource::Resource,
    selector::Selection,
    status::{self, Cause, Refusal},
};

/// Names and values, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The value of a parameter, if it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let parsed = text.parse().map(Some);
        parsed.map_err(|_| status::bad_request(format!("invalid {name}: {text}")))
    }

    /// `resourceVersion`; 0 stands for any.
    pub(super) fn version(&self) -> Result<Option<u64>, Refusal> {
        self.number("resourceVersion").map_err(|_| {
            let text = self.get("resourceVersion").unwrap_or_default();
            let message = format!("Invalid value: \"{text}\": must be a number");
            let cause = Cause { field: "resourceVersion", reason: "FieldValueInvalid", message };
            status::invalid("meta.k8s.io", "ListOptions", "", cause)
        })
    }

    pub(super) fn selection(&self, resource: Resource) -> Result<Selection, Refusal> {
        Selection::parse(resource, self.get("labelSelector"), self.get("fieldSelector"))
    }

    /// 422: the parameter may not be used so.
    pub(super) fn forbidden(&self, field: &'static str, why: &str) -> Refusal {
        let message = format!("Forbidden: {why}");
        let cause = Cause { field, reason: "FieldValueForbidden", message };
        status::invalid("meta.k8s.io", "ListOptions", "", cause)
    }
}
