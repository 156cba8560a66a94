//! Which Pods of this node opt out, by what their manifests and their Namespaces' say.
//!
//! Pure: this module must never look at the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{OPT_OUT, Selector};
use crate::source::{Kind, Object, ObjectKey};

/// Who opts out, beside those who say so themselves.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// This node's name: Pods of other nodes are left out. Without it, none is.
    pub node: Option<String>,
    /// Pods with labels that one of these selects.
    pub pods: Vec<Selector>,
    /// All Pods of Namespaces with labels that one of these selects.
    pub namespaces: Vec<Selector>,
}

/// Namespace and name of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodName {
    namespace: String,
    name: String,
}

/// The Pods that opt out.
pub(super) type Wanted = BTreeMap<PodName, Sought>;

/// By what a Pod is found, and told from another one that had its name before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sought {
    /// Empty where there is none: in manifests.
    pub(super) uid: Box<str>,
    pub(super) addresses: Box<[IpAddr]>,
}

/// What an object says that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Notice {
    /// A Pod without a namespace of its own opts out.
    HostNetwork(PodName),
    /// Neither `"true"` nor `"false"`.
    Value { object: String, value: Box<str> },
}

/// All Pods of this node and all Namespaces that have something to say.
pub(super) struct Registry {
    rules: Rules,
    pods: BTreeMap<PodName, Entry>,
    namespaces: BTreeMap<String, Word>,
}

/// What counts of a Pod.
struct Entry {
    word: Word,
    host_network: bool,
    sought: Sought,
}

/// What an object says of opting out.
#[derive(Default, PartialEq, Eq)]
struct Word {
    explicit: Option<bool>,
    selected: bool,
    /// Neither yes nor no.
    strange: Option<Box<str>>,
}

impl Registry {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, pods: BTreeMap::new(), namespaces: BTreeMap::new() }
    }

    /// Takes in an object. Returns the Pod's name if it is one of this node's.
    pub(super) fn apply(&mut self, object: &Object) -> Option<PodName> {
        match object {
            Object::Pod(pod) => self.apply_pod(pod),
            Object::Namespace(namespace) => {
                self.apply_namespace(namespace);
                None
            }
            _ => None,
        }
    }

    fn apply_pod(&mut self, pod: &Pod) -> Option<PodName> {
        let name = PodName {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
        };
        if !self.is_here(pod) {
            self.pods.remove(&name);
            return None;
        }
        let word = Word::of(&pod.metadata, pod.metadata.annotations.as_ref(), &self.rules.pods);
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default().into();
        let sought = Sought { uid, addresses: addresses(pod) };
        let entry = Entry { word, host_network, sought };
        self.pods.insert(name.clone(), entry);
        Some(name)
    }

    fn apply_namespace(&mut self, namespace: &Namespace) {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        let word = Word::of(&namespace.metadata, None, &self.rules.namespaces);
        if word == Word::default() {
            self.namespaces.remove(&name);
        } else {
            self.namespaces.insert(name, word);
        }
    }

    pub(super) fn delete(&mut self, key: ObjectKey) {
        match key.kind {
            Kind::Pod => {
                self.pods.remove(&PodName { namespace: key.namespace, name: key.name });
            }
            Kind::Namespace => {
                self.namespaces.remove(&key.name);
            }
            _ => {}
        }
    }

    /// The Pods that opt out and have an address.
    pub(super) fn wanted(&self) -> Wanted {
        self.opted_out()
            .filter(|(_, entry)| !entry.host_network && !entry.sought.addresses.is_empty())
            .map(|(name, entry)| (name.clone(), entry.sought.clone()))
            .collect()
    }

    /// All that holds now.
    pub(super) fn notices(&self) -> BTreeSet<Notice> {
        let host = self.opted_out().filter(|(_, entry)| entry.host_network);
        let host = host.map(|(name, _)| Notice::HostNetwork(name.clone()));
        let strange = |object: String, word: &Word| {
            word.strange.clone().map(|value| Notice::Value { object, value })
        };
        let pods = self.pods.iter();
        let pods = pods.filter_map(|(name, entry)| strange(format!("Pod {name}"), &entry.word));
        let namespaces = self.namespaces.iter();
        let namespaces =
            namespaces.filter_map(|(name, word)| strange(format!("Namespace {name}"), word));
        host.chain(pods).chain(namespaces).collect()
    }

    fn opted_out(&self) -> impl Iterator<Item = (&PodName, &Entry)> {
        self.pods.iter().filter(|(name, entry)| {
            let namespace = self.namespaces.get(&name.namespace);
            let explicit = entry.word.explicit.or(namespace.and_then(|word| word.explicit));
            let selected = entry.word.selected || namespace.is_some_and(|word| word.selected);
            explicit.unwrap_or(selected)
        })
    }

    /// A Pod that has ended has given its address back; another one may have it.
    fn is_here(&self, pod: &Pod) -> bool {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let elsewhere =
            self.rules.node.is_some() && node.is_some() && node != self.rules.node.as_ref();
        !elsewhere && !matches!(phase, Some("Succeeded" | "Failed"))
    }
}

impl Word {
    fn of(
        metadata: &ObjectMeta,
        annotations: Option<&BTreeMap<String, String>>,
        selectors: &[Selector],
    ) -> Self {
        let labels = metadata.labels.as_ref();
        let value =
            |map: Option<&BTreeMap<String, String>>| map.and_then(|map| map.get(OPT_OUT)).cloned();
        let mut word = Self {
            selected: selectors.iter().any(|selector| selector.matches(labels)),
            ..Self::default()
        };
        for value in [value(annotations), value(labels)].into_iter().flatten() {
            match &*value {
                "true" => word.explicit = Some(true),
                "false" => word.explicit = Some(false),
                _ => word.strange = Some(value.into()),
            }
        }
        word
    }
}

/// Those that are no addresses are left out: they can be found nowhere.
fn addresses(pod: &Pod) -> Box<[IpAddr]> {
    let Some(status) = &pod.status else { return Box::default() };
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let all: BTreeSet<IpAddr> = all.filter_map(|text| text.parse().ok()).collect();
    all.into_iter().collect()
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork(pod) => write!(
                f,
                "Pod {pod} cannot opt out: it shares the host's network namespace (hostNetwork: \
                 true) with all other host processes"
            ),
            Self::Value { object, value } => write!(
                f,
                "{OPT_OUT} of {object} is {value:?}, which is neither \"true\" nor \"false\": ignored"
            ),
        }
    }
}
