//! What clients ask before they ask for anything: health, version, and which resources there are. It is
//! answered without a token, and no fault befalls it.

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    answer::{Body, whole},
    resource::Resource,
};

/// The answer, if the path is one of these.
pub(super) fn answer(method: &Method, path: &str) -> Option<Response<Body>> {
    if method != Method::GET {
        return None;
    }
    let value = match path.trim_end_matches('/') {
        "/healthz" | "/livez" | "/readyz" => return Some(whole(StatusCode::OK, "ok")),
        "/version" => version(),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => groups(),
        "/api/v1" => resources("", "v1"),
        path => {
            let group = path.strip_prefix("/apis/")?.strip_suffix("/v1")?;
            Resource::ALL.iter().find(|resource| resource.group() == group)?;
            resources(group, &format!("{group}/v1"))
        }
    };
    Some(whole(StatusCode::OK, value.to_string()))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0-lab", "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "", "platform": "linux/amd64",
    })
}

fn groups() -> Value {
    let mut names: Vec<_> = Resource::ALL.iter().map(|resource| resource.group()).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    let group = |name: &String| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let groups: Vec<_> = names.iter().map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(group: &str, version: &str) -> Value {
    let entry = |resource: &Resource| {
        let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
        json!({
            "name": resource.plural(), "singularName": resource.kind().to_lowercase(),
            "namespaced": resource.is_namespaced(), "kind": resource.kind(), "verbs": verbs,
        })
    };
    let own = Resource::ALL.iter().filter(|resource| resource.group() == group);
    let resources: Vec<_> = own.map(entry).collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": resources,
    })
}
