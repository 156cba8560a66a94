//! Single objects as an API server stores, fills in and refuses them: the lab's double, and a real one
//! where there is one. What holds for both is what other tests may build on.
#![forbid(unsafe_code)]

mod services;

use std::{future::Future, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, NodeAddress, NodeStatus, Pod, Service},
    discovery::v1::EndpointSlice,
};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::Status,
};
use lab::apiserver::ApiServer;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long a test may take on a server that runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` with a client of a server, isolated.
fn with<F: Future<Output = Result<()>>>(body: impl FnOnce(Client) -> F) {
    lab::isolated(|lab| {
        let server = ApiServer::start(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = server.access().client().await?;
            timeout(PATIENCE, body(client)).await.context("it takes too long")?
        })
    });
}

fn object<K: DeserializeOwned>(value: Value) -> Result<K> {
    Ok(serde_json::from_value(value)?)
}

/// A Service of one port, in the namespace of the client.
fn service(name: &str) -> Result<Service> {
    object(json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}))
}

/// The `Status` of a request that was refused with this code and reason.
fn refused<T>(outcome: kube::Result<T>, code: u16, reason: &str) -> Result<Status> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == code && status.reason == reason => {
            Ok(*status)
        }
        Err(error) => Err(error).context("refused, but not so"),
        Ok(_) => bail!("not refused"),
    }
}

#[test]
fn what_is_written_can_be_read_and_versions_ascend() {
    with(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        let create = PostParams::default();
        let made = api.create(&create, &service("web")?).await?;
        assert!(made.uid().is_some_and(|uid| uid.len() == 36));
        assert!(made.creation_timestamp().is_some());
        let version = |object: &Service| object.resource_version().unwrap().parse::<u64>().unwrap();
        refused(api.create(&create, &service("web")?).await, 409, "AlreadyExists")?;

        let mut changed = api.get("web").await?;
        assert_eq!(changed, made);
        changed.labels_mut().insert("app".into(), "web".into());
        let stored = api.replace("web", &create, &changed).await?;
        assert!(version(&stored) > version(&made));
        assert_eq!(stored.uid(), made.uid());
        // The same again is no change, and what is based on an older version is refused.
        let mut again = stored.clone();
        again.meta_mut().resource_version = None;
        assert_eq!(api.replace("web", &create, &again).await?, stored);
        changed.labels_mut().clear();
        refused(api.replace("web", &create, &changed).await, 409, "Conflict")?;

        assert!(api.delete("web", &DeleteParams::default()).await?.is_left());
        refused(api.get("web").await, 404, "NotFound")?;
        refused(api.delete("web", &DeleteParams::default()).await, 404, "NotFound")?;
        Ok(())
    });
}

#[test]
fn patches_merge_and_apply() {
    with(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        let apply = PatchParams::apply("lab");
        let object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}]},
        });
        let made = api.patch("web", &apply, &Patch::Apply(&object)).await?;
        let patch = json!({"metadata": {"labels": {"app": "web"}}});
        let merged = api.patch("web", &apply, &Patch::Merge(&patch)).await?;
        assert_eq!(merged.labels()["app"], "web");
        assert_eq!(merged.spec, made.spec);
        let applied = api.patch("web", &apply, &Patch::Apply(&object)).await?;
        assert_eq!((applied.uid(), &applied.spec), (merged.uid(), &merged.spec));
        assert_eq!(applied.labels(), merged.labels());
        let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let whole = api.patch("web", &apply, &Patch::Merge(&ingress)).await?;
        assert_eq!(
            whole.status, merged.status,
            "a status is not written but through its subresource"
        );
        let whole = api.patch_status("web", &apply, &Patch::Merge(&ingress)).await?;
        let balancer = whole.status.and_then(|status| status.load_balancer).context("a status")?;
        assert_eq!(balancer.ingress.context("an ingress")?[0].ip.as_deref(), Some("192.0.2.1"));
        let stale = json!({"metadata": {"resourceVersion": "1"}});
        refused(api.patch("web", &apply, &Patch::Merge(&stale)).await, 409, "Conflict")?;
        Ok(())
    });
}

#[test]
fn a_status_is_written_apart() {
    with(async |client| {
        let nodes: Api<Node> = Api::all(client);
        let plain: Node = object(json!({"metadata": {"name": "n1"}}))?;
        let mut node = nodes.create(&PostParams::default(), &plain).await?;
        let address = NodeAddress { address: "10.244.0.1".into(), type_: "InternalIP".into() };
        let status = NodeStatus { addresses: Some(vec![address]), ..NodeStatus::default() };
        node.status = Some(status);
        let addresses = |node: &Node| node.status.as_ref().and_then(|it| it.addresses.clone());
        node.spec.get_or_insert_default().unschedulable = Some(true);
        let written = nodes.replace_status("n1", &PostParams::default(), &node).await?;
        assert_eq!(addresses(&written), addresses(&node));
        assert_eq!(written.spec.and_then(|spec| spec.unschedulable), None);
        let written = nodes.replace("n1", &PostParams::default(), &plain).await?;
        assert_eq!(addresses(&written), addresses(&node));
        Ok(())
    });
}

#[test]
fn objects_lie_in_namespaces_that_exist() {
    with(async |client| {
        let elsewhere: Api<Service> = Api::namespaced(client.clone(), "shop");
        let web = service("web")?;
        let create = PostParams::default();
        let status = refused(elsewhere.create(&create, &web).await, 404, "NotFound")?;
        assert_eq!(status.message, "namespaces \"shop\" not found");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let shop = object(json!({"metadata": {"name": "shop"}}))?;
        let shop = namespaces.create(&create, &shop).await?;
        assert_eq!(shop.labels()["kubernetes.io/metadata.name"], "shop");
        elsewhere.create(&create, &web).await?;
        // A namespace is held until a controller has emptied it.
        assert!(namespaces.delete("shop", &DeleteParams::default()).await?.is_left());
        let phase = namespaces.get("shop").await?.status.and_then(|status| status.phase);
        assert_eq!(phase.as_deref(), Some("Terminating"));
        Ok(())
    });
}

#[test]
fn what_runs_or_is_held_goes_later() {
    with(async |client| {
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let pod = json!({
            "metadata": {"name": "web-1"},
            "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "web"}]},
        });
        let create = PostParams::default();
        pods.create(&create, &object(pod)?).await?;
        pods.delete("web-1", &DeleteParams::default()).await?;
        assert!(pods.get("web-1").await?.metadata.deletion_timestamp.is_some());
        pods.delete("web-1", &DeleteParams::default().grace_period(0)).await?;
        refused(pods.get("web-1").await, 404, "NotFound")?;

        let slices: Api<EndpointSlice> = Api::default_namespaced(client);
        let slice = json!({
            "metadata": {"name": "web-1", "finalizers": ["lab/held"]}, "addressType": "IPv4",
            "endpoints": [], "ports": [{"port": 8080}],
        });
        let slice = slices.create(&create, &object(slice)?).await?;
        assert_eq!(slice.metadata.generation, Some(1));
        let port = &slice.ports.as_ref().context("ports")?[0];
        assert_eq!((port.protocol.as_deref(), port.name.as_deref()), (Some("TCP"), Some("")));
        slices.delete("web-1", &DeleteParams::default()).await?;
        let mut slice = slices.get("web-1").await?;
        slice.metadata.finalizers = None;
        slices.replace("web-1", &create, &slice).await?;
        refused(slices.get("web-1").await, 404, "NotFound")?;
        Ok(())
    });
}

#[test]
fn a_new_cluster_has_its_own_service_and_answers_who_it_is() {
    with(async |client| {
        let api: Api<Service> = Api::default_namespaced(client.clone());
        // A real server makes it a moment after it is ready.
        let own = loop {
            match api.get_opt("kubernetes").await? {
                Some(own) => break own,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let address = own.spec.and_then(|spec| spec.cluster_ip);
        assert_eq!(address.as_deref(), Some("10.96.0.1"));
        assert_eq!(client.apiserver_version().await?.major, "1");
        let groups = client.list_api_groups().await?.groups;
        let resources = client.list_core_api_resources("v1").await?.resources;
        assert!(resources.iter().any(|resource| resource.name == "services"));
        for name in ["discovery.k8s.io", "networking.k8s.io"] {
            assert!(groups.iter().any(|group| group.name == name), "{name}");
            let resources = client.list_api_group_resources(&format!("{name}/v1")).await?;
            assert!(!resources.resources.is_empty(), "{name}");
        }
        Ok(())
    });
}
