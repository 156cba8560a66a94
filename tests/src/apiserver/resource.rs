//! What is served, and where it lies: a resource for each kind, the verbs, and the way from a path to
//! both.
//!
//! Nothing here may look at an object.

use super::kind::{Kind, dispatch};

/// A resource, by its plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// core/v1
    Endpoints,
    /// discovery.k8s.io/v1
    EndpointSlices,
    /// core/v1
    Namespaces,
    /// core/v1
    Nodes,
    /// core/v1
    Pods,
    /// networking.k8s.io/v1
    ServiceCidrs,
    /// core/v1
    Services,
}

/// What a request does, as RBAC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// POST to a collection.
    Create,
    /// DELETE of one object.
    Delete,
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// PATCH of one object.
    Patch,
    /// PUT of one object.
    Update,
    /// GET of a collection, with `watch`.
    Watch,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Endpoints,
        Self::EndpointSlices,
        Self::Namespaces,
        Self::Nodes,
        Self::Pods,
        Self::ServiceCidrs,
        Self::Services,
    ];

    /// `services` and so on.
    pub fn plural(self) -> String {
        dispatch!(self, K => K::plural(&()).into_owned())
    }

    /// Empty for core.
    pub fn group(self) -> String {
        dispatch!(self, K => K::group(&()).into_owned())
    }

    /// `Service` and so on.
    pub fn kind(self) -> String {
        dispatch!(self, K => K::kind(&()).into_owned())
    }

    pub(super) fn api_version(self) -> String {
        dispatch!(self, K => K::api_version(&()).into_owned())
    }

    /// Whether its objects lie in namespaces.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespaces | Self::Nodes | Self::ServiceCidrs)
    }

    /// Whether a part of its objects is written through `/status` alone.
    pub(super) fn has_status(self) -> bool {
        dispatch!(self, K => K::HAS_STATUS)
    }

    fn find(group: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.group() == group && it.plural() == plural)
    }
}

impl Verb {
    /// `list` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// What the path of a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: Resource,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    /// The subresource `status` is meant.
    pub(super) status: bool,
}

impl Target {
    /// `None` for what is no resource here.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let (group, rest) = match &segments[..] {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, "v1", rest @ ..] => (*group, rest),
            _ => return None,
        };
        let target = |plural: &str, namespace: Option<&str>, name: Option<&str>, status: bool| {
            let resource = Resource::find(group, plural)?;
            // All namespaces together have no names.
            let fits = match (resource.is_namespaced(), namespace, name) {
                (true, None, Some(_)) | (false, Some(_), _) => false,
                _ => !status || resource.has_status(),
            };
            let owned = |text: Option<&str>| text.map(str::to_owned);
            fits.then(|| Self { resource, namespace: owned(namespace), name: owned(name), status })
        };
        match rest {
            [plural] => target(plural, None, None, false),
            ["namespaces", name, "status"] => target("namespaces", None, Some(name), true),
            ["namespaces", name] => target("namespaces", None, Some(name), false),
            ["namespaces", namespace, plural] => target(plural, Some(namespace), None, false),
            ["namespaces", namespace, plural, name] => {
                target(plural, Some(namespace), Some(name), false)
            }
            ["namespaces", namespace, plural, name, "status"] => {
                target(plural, Some(namespace), Some(name), true)
            }
            [plural, name] => target(plural, None, Some(name), false),
            [plural, name, "status"] => target(plural, None, Some(name), true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_clients_ask() {
        for resource in Resource::ALL {
            let collection = dispatch!(resource, K => <K as kube::Resource>::url_path(&(), None));
            let found = Target::parse(&collection).unwrap();
            assert_eq!((found.resource, found.namespace, found.name), (resource, None, None));
            let place = resource.is_namespaced().then_some("shop");
            let path = dispatch!(resource, K => <K as kube::Resource>::url_path(&(), place));
            let found = Target::parse(&format!("{path}/web")).unwrap();
            assert_eq!(found.resource, resource);
            assert_eq!(found.namespace.as_deref(), place);
            assert_eq!(found.name.as_deref(), Some("web"));
            let status = Target::parse(&format!("{path}/web/status"));
            assert_eq!(status.is_some(), resource.has_status(), "{resource:?}");
        }
    }

    #[test]
    fn other_paths_are_nothing() {
        for path in [
            "/",
            "/api/v1",
            "/api/v1/services/web",
            "/api/v1/secrets",
            "/api/v1/namespaces/shop/nodes",
            "/apis/discovery.k8s.io/v1/services",
            "/api/v1/namespaces/shop/pods/web/log",
        ] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
    }
}
