//! Label selectors as `kubectl -l` takes them, as far as they compare for equality.
//!
//! This module must never accept a selector that it does not follow in full.

use std::{collections::BTreeMap, str::FromStr};

use thiserror::Error;

/// Requirements that labels have to meet, all of them: `key`, `!key`, `key=value`, `key==value` and
/// `key!=value`, with commas between them. `key!=value` is met also where there is no such key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Present(String),
    Absent(String),
    Equal(String, String),
    Different(String, String),
}

/// A selector cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// It would select everything.
    #[error("an empty selector would select everything")]
    Empty,
    /// A part of it is none of the known forms.
    #[error(
        "{0:?} is no requirement: write key, !key, key=value or key!=value, with commas between them"
    )]
    Requirement(String),
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key: &String| labels.and_then(|labels| labels.get(key));
        self.0.iter().all(|requirement| match requirement {
            Requirement::Present(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
            Requirement::Equal(key, wanted) => value(key) == Some(wanted),
            Requirement::Different(key, unwanted) => value(key) != Some(unwanted),
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Err(SelectorError::Empty);
        }
        text.split(',').map(requirement).collect::<Result<_, _>>().map(Self)
    }
}

fn requirement(text: &str) -> Result<Requirement, SelectorError> {
    let text = text.trim();
    let error = || SelectorError::Requirement(text.to_owned());
    let requirement = if let Some((key, value)) = text.split_once("!=") {
        Requirement::Different(key.trim().into(), value.trim().into())
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        Requirement::Equal(key.trim().into(), value.trim().into())
    } else if let Some(key) = text.strip_prefix('!') {
        Requirement::Absent(key.trim().into())
    } else {
        Requirement::Present(text.into())
    };
    let valid = match &requirement {
        Requirement::Present(key) | Requirement::Absent(key) => is_key(key),
        Requirement::Equal(key, value) | Requirement::Different(key, value) => {
            is_key(key) && (value.is_empty() || is_name(value))
        }
    };
    if valid { Ok(requirement) } else { Err(error()) }
}

/// `[domain/]name`
fn is_key(text: &str) -> bool {
    let (domain, name) = text.split_once('/').unwrap_or(("x", text));
    is_name(domain) && is_name(name)
}

/// Letters, digits and `-_.`, as keys and values consist of them.
fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        selector.parse::<Selector>().expect("a selector").matches(Some(&labels))
    }

    #[test]
    fn all_requirements_have_to_be_met() {
        let labels = [("app", "web"), ("example.org/tier", "front"), ("empty", "")];
        for selector in [
            "app",
            "app=web",
            " app == web ",
            "app=web,example.org/tier=front",
            "!db",
            "app!=db",
            "db!=x",
            "empty",
            "empty=",
        ] {
            assert!(selects(selector, &labels), "{selector}");
        }
        for selector in ["db", "app=db", "!app", "app!=web", "app=web,db", "app=", "App=web"] {
            assert!(!selects(selector, &labels), "{selector}");
        }
        let absent: Selector = "!a".parse().unwrap();
        assert!(absent.matches(None));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["", " "] {
            assert_eq!(text.parse::<Selector>(), Err(SelectorError::Empty));
        }
        for text in [
            "a,",
            "=b",
            "!",
            "a=b=c",
            "a in (b)",
            "a notin (b,c)",
            "a b",
            "/a",
            "a/",
            "a/b/c",
            "!a=b",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
