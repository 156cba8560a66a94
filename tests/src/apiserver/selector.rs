//! Label and field selectors: from the text of a query to a question that objects answer.
//!
//! Which objects match labels is `kube`'s to say; here is only what it does not parse.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector, SelectorExt as _};

use super::{
    object::Object,
    resource::Resource,
    status::{self, Refusal},
};

/// Both selectors of a list or a watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    labels: Selector,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    value: String,
    equal: bool,
}

impl Selection {
    /// Of the parameters `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 for what cannot be parsed, and for fields that the resource does not select by.
    pub(super) fn parse(
        resource: Resource,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, Refusal> {
        let labels = split(labels.unwrap_or_default()).map(requirement);
        let fields = split(fields.unwrap_or_default()).map(|term| field(resource, term));
        Ok(Self {
            labels: labels.collect::<Result<Vec<_>, _>>()?.into_iter().collect(),
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it takes every object.
    pub(super) fn is_all(&self) -> bool {
        self.fields.is_empty() && self.labels.selects_all()
    }

    /// Whether the object is selected.
    pub(super) fn takes(&self, object: &Object) -> bool {
        let fits = |field: &Field| (object.field(&field.name) == field.value) == field.equal;
        self.fields.iter().all(fits) && self.labels.matches(&object.labels)
    }
}

/// At commas that are not in parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|term| !term.is_empty())
}

fn requirement(term: &str) -> Result<Expression, Refusal> {
    let refusal = || status::bad_request(format!("unable to parse requirement: {term}"));
    let key = |text: &str| {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if text.is_empty() || !text.chars().all(plain) { Err(refusal()) } else { Ok(text.into()) }
    };
    if let Some(name) = term.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key(name)?));
    }
    if let Some((name, value)) = term.split_once("!=") {
        return Ok(Expression::NotEqual(key(name)?, value.trim().into()));
    }
    if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(Expression::Equal(key(name)?, value.trim().into()));
    }
    let Some((name, set)) = term.split_once(char::is_whitespace) else {
        return Ok(Expression::Exists(key(term)?));
    };
    let (set, negated) = match set.trim().strip_prefix("notin") {
        Some(set) => (set, true),
        None => (set.trim().strip_prefix("in").ok_or_else(refusal)?, false),
    };
    let values = set.trim().strip_prefix('(').and_then(|set| set.strip_suffix(')'));
    let values: BTreeSet<String> =
        values.ok_or_else(refusal)?.split(',').map(|value| value.trim().into()).collect();
    let name = key(name)?;
    Ok(if negated { Expression::NotIn(name, values) } else { Expression::In(name, values) })
}

fn field(resource: Resource, term: &str) -> Result<Field, Refusal> {
    let (name, value, equal) = if let Some((name, value)) = term.split_once("!=") {
        (name, value, false)
    } else if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (name, value, true)
    } else {
        return Err(status::bad_request(format!("invalid selector: '{term}'; can't understand")));
    };
    let known = match name {
        "metadata.name" => true,
        "metadata.namespace" => resource.is_namespaced(),
        "spec.nodeName" => resource == Resource::Pods,
        "spec.clusterIP" | "spec.type" => resource == Resource::Services,
        _ => false,
    };
    if !known {
        return Err(status::bad_request(format!("field label not supported: {name}")));
    }
    Ok(Field { name: name.into(), value: value.into(), equal })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn takes(labels: &str, fields: &str) -> bool {
        let selection = Selection::parse(Resource::Pods, Some(labels), Some(fields)).unwrap();
        let labels = [("app", "web"), ("tier", "front")];
        selection.takes(&Object {
            namespace: "shop".into(),
            name: "web-1".into(),
            version: 1,
            labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
            fields: vec![("spec.nodeName", "n1".into())],
            uid: String::new(),
            created: None,
            generation: None,
            deleted: None,
            json: Bytes::new(),
        })
    }

    #[test]
    fn labels_select_by_equality_by_set_and_by_presence() {
        for yes in [
            "",
            "app=web",
            "app==web,tier!=back",
            "app in (web, api),tier notin (back,middle)",
            "tier,!canary",
            "canary!=yes",
            "canary notin (yes)",
        ] {
            assert!(takes(yes, ""), "{yes}");
        }
        for no in ["app=api", "app!=web", "app in (api)", "app notin (web)", "canary", "!app"] {
            assert!(!takes(no, ""), "{no}");
        }
    }

    #[test]
    fn fields_select_by_equality() {
        assert!(takes("", "metadata.name=web-1,metadata.namespace==shop,spec.nodeName=n1"));
        assert!(takes("", "spec.nodeName!=n2"));
        assert!(!takes("", "spec.nodeName!=n1"));
        assert!(!takes("app=web", "metadata.name=web-2"));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        let refused = |resource, labels: &str, fields: &str| {
            let code = Selection::parse(resource, Some(labels), Some(fields)).unwrap_err().code;
            assert_eq!(code, Some(400), "{labels} {fields}");
        };
        refused(Resource::Pods, "app in web", "");
        refused(Resource::Pods, "app of (web)", "");
        refused(Resource::Pods, "=web", "");
        refused(Resource::Pods, "", "spec.clusterIP=10.0.0.1");
        refused(Resource::Services, "", "spec.nodeName=n1");
        refused(Resource::Nodes, "", "metadata.namespace=x");
        refused(Resource::Services, "", "spec.ports");
    }
}
