//! Lists: selectors, pages, versions.

use anyhow::{Context, Result};
use k8s_openapi::api::{
    core::v1::{Node, Pod, PodSpec, Service},
    networking::v1::ServiceCIDR,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, VersionMatch},
    core::ObjectList,
};
use lab::apiserver::{Double, Options};

use super::{labelled, named, refused, service, with};

fn names<K: kube::Resource + Clone>(list: &ObjectList<K>) -> Vec<String> {
    list.items.iter().map(kube::ResourceExt::name_any).collect()
}

fn load(server: &Double, count: usize) -> Result<()> {
    server.load((0..count).map(|index| service(&format!("web-{index:03}"))))
}

#[test]
fn pages_show_the_version_of_the_first_and_expire_with_it() {
    with(Options::default(), async |server, client| {
        load(&server, 25)?;
        let api: Api<Service> = Api::all(client);
        let whole = names(&api.list(&ListParams::default()).await?);
        assert_eq!(whole.len(), 26);
        let first = api.list(&ListParams::default().limit(10)).await?;
        assert_eq!(first.metadata.remaining_item_count, Some(16));
        let mut seen = names(&first);
        // What changes meanwhile is not seen: neither what comes, nor what goes, in no page.
        server.remove::<Service>("default", "web-020")?;
        server.apply(service("web-015-new"))?;
        server.apply(labelled("web-021", &[("app", "web")]))?;
        let mut token = first.metadata.continue_.clone();
        while let Some(next) = token {
            let page = api.list(&ListParams::default().limit(10).continue_token(&next)).await?;
            assert_eq!(page.metadata.resource_version, first.metadata.resource_version);
            assert!(page.items.iter().all(|service| service.labels().get("app").is_none()));
            seen.extend(names(&page));
            token = page.metadata.continue_;
        }
        assert_eq!(seen, whole);
        let token = first.metadata.continue_.context("a token")?;
        server.compact();
        let gone = api.list(&ListParams::default().limit(10).continue_token(&token)).await;
        refused(gone, 410, "Expired")?;
        let nonsense = api.list(&ListParams::default().limit(10).continue_token("x")).await;
        refused(nonsense, 400, "BadRequest")?;
        Ok(())
    });
}

#[test]
fn selectors_choose_by_labels_and_by_fields() {
    with(Options::default(), async |server, client| {
        server.apply(labelled("api", &[("app", "api"), ("tier", "back")]))?;
        server.apply(labelled("web", &[("app", "web"), ("tier", "front")]))?;
        server.apply(service("plain"))?;
        let api: Api<Service> = Api::default_namespaced(client.clone());
        let labels = async |selector: &str| -> Result<Vec<String>> {
            Ok(names(&api.list(&ListParams::default().labels(selector)).await?))
        };
        assert_eq!(labels("app=web").await?, ["web"]);
        assert_eq!(labels("app,tier!=front").await?, ["api"]);
        assert_eq!(labels("app in (web, api),tier notin (front)").await?, ["api"]);
        assert_eq!(labels("!app,!component").await?, ["plain"]);
        let fields = async |selector: &str| {
            Ok::<_, kube::Error>(names(&api.list(&ListParams::default().fields(selector)).await?))
        };
        assert_eq!(fields("metadata.name=web,metadata.namespace=default").await?, ["web"]);
        assert_eq!(fields("spec.clusterIP==10.96.0.1").await?, ["kubernetes"]);
        assert_eq!(fields("spec.type!=ClusterIP").await?, [""; 0]);
        refused(fields("spec.ports=80").await, 400, "BadRequest")?;

        let pod = |name: &str, node: Option<&str>| Pod {
            metadata: named(name),
            spec: Some(PodSpec { node_name: node.map(str::to_owned), ..PodSpec::default() }),
            ..Pod::default()
        };
        server.load([pod("a", Some("n1")), pod("b", Some("n2")), pod("c", None)])?;
        let pods: Api<Pod> = Api::all(client);
        let here = pods.list(&ListParams::default().fields("spec.nodeName=n1")).await?;
        assert_eq!(names(&here), ["a"]);
        let nowhere = pods.list(&ListParams::default().fields("spec.nodeName=")).await?;
        assert_eq!(names(&nowhere), ["c"]);
        Ok(())
    });
}

#[test]
fn a_list_is_of_the_version_that_is_asked_for() {
    with(Options::default(), async |server, client| {
        let api: Api<Service> = Api::all(client.clone());
        let before = server.version();
        server.apply(service("web"))?;
        let exact = |version: u64| {
            ListParams::default().at(&version.to_string()).matching(VersionMatch::Exact)
        };
        assert_eq!(names(&api.list(&exact(before)).await?), ["kubernetes"]);
        assert_eq!(names(&api.list(&ListParams::default().match_any()).await?).len(), 2);
        refused(api.list(&exact(server.version() + 1)).await, 504, "Timeout")?;
        server.compact();
        refused(api.list(&exact(before)).await, 410, "Expired")?;

        // What lies in no namespace, and what is not there.
        let nodes: Api<Node> = Api::all(client.clone());
        assert!(nodes.list(&ListParams::default()).await?.items.is_empty());
        let ranges: Api<ServiceCIDR> = Api::all(client);
        let range = ranges.get("kubernetes").await?.spec.and_then(|spec| spec.cidrs);
        let expected = Options::default().service_cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(range, Some(expected));
        Ok(())
    });
}
