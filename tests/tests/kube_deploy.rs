//! The manifests of deploy/, and the agent as they run it.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use clap::Parser as _;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Container, Pod, PodSpec, Probe, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use lab::{
    apiserver::ApiServer,
    client::{TIMEOUT, connect},
    cluster::{Cluster, NODE},
    manifest::Service,
    requirement::Need,
    serving::{PORT, Serving},
    socket::Errno,
};
use lb_userspace::cli::{Cli, Command, Run};
use serde_json::{Value, json};

const MANIFEST: &str = include_str!("../../deploy/daemonset.yaml");
const REMOVAL: &str = include_str!("../../deploy/remove.yaml");
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");
const WEB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);

/// The object of this kind in the agent's manifest.
fn object<K: DeserializeOwned + Serialize>(kind: &str) -> Result<K> {
    object_in(MANIFEST, kind)
}

/// The object of this kind. Fails if the manifest says anything that the kind does not know.
fn object_in<K: DeserializeOwned + Serialize>(manifest: &str, kind: &str) -> Result<K> {
    let line = format!("\nkind: {kind}\n");
    let mut documents = manifest.split("\n---\n").filter(|document| document.contains(&line));
    let text = documents.next().with_context(|| format!("no {kind}"))?;
    ensure!(documents.next().is_none(), "more than one {kind}");
    let object: K = serde_saphyr::from_str(text)?;
    let written: Value = serde_saphyr::from_str(text)?;
    known(kind, &written, &serde_json::to_value(&object)?)?;
    Ok(object)
}

/// Fails unless all of `written` was `read`.
fn known(place: &str, written: &Value, read: &Value) -> Result<()> {
    match (written, read) {
        (Value::Object(written), Value::Object(_)) => written
            .iter()
            .try_for_each(|(name, value)| known(&format!("{place}.{name}"), value, &read[name])),
        (Value::Array(written), Value::Array(items)) if written.len() == items.len() => written
            .iter()
            .zip(items)
            .try_for_each(|(value, item)| known(&format!("{place}[]"), value, item)),
        _ => {
            ensure!(written == read, "{place}: {written} was read as {read}");
            Ok(())
        }
    }
}

fn pod() -> Result<PodSpec> {
    let daemon_set: DaemonSet = object("DaemonSet")?;
    daemon_set.spec.and_then(|spec| spec.template.spec).context("no Pod")
}

fn container() -> Result<Container> {
    Ok(pod()?.containers.remove(0))
}

/// The capabilities that are added to none.
fn capabilities(container: &Container) -> Result<Vec<String>> {
    let context = container.security_context.as_ref().context("no security context")?;
    let capabilities = context.capabilities.as_ref().context("no capabilities")?;
    assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
    capabilities.add.clone().context("no capability is added")
}

fn path(probe: Option<Probe>) -> Result<(String, String)> {
    let http = probe.and_then(|probe| probe.http_get).context("no probe by HTTP")?;
    let port = serde_json::to_value(&http.port)?;
    Ok((format!("{}:{port}", http.host.context("no host")?), http.path.context("no path")?))
}

#[test]
fn the_service_account_is_bound_to_the_cluster_role_and_the_pods_have_it() -> Result<()> {
    let account: ServiceAccount = object("ServiceAccount")?;
    let role: ClusterRole = object("ClusterRole")?;
    let binding: ClusterRoleBinding = object("ClusterRoleBinding")?;
    let subject = &binding.subjects.context("no subject")?[0];
    assert_eq!(binding.role_ref.name, role.metadata.name.unwrap());
    assert_eq!(
        (&subject.name, &subject.namespace),
        (account.metadata.name.as_ref().unwrap(), &account.metadata.namespace)
    );
    assert_eq!(pod()?.service_account_name, account.metadata.name);
    Ok(())
}

#[test]
fn the_agent_takes_the_arguments_and_answers_where_the_probes_ask() -> Result<()> {
    let container = container()?;
    let arguments = container.args.clone().context("no arguments")?;
    let cli = Cli::try_parse_from([&["socklb".to_owned()][..], &arguments].concat())?;
    let Command::Run(run) = cli.command else { panic!("the agent is not run: {arguments:?}") };
    let Run { health, cgroup, pin, .. } = *run;
    let health = health.context("no health is served")?.to_string();
    assert_eq!(path(container.liveness_probe.clone())?, (health.clone(), "/healthz".into()));
    assert_eq!(path(container.readiness_probe.clone())?, (health, "/readyz".into()));
    let mounts = container.volume_mounts.context("no mounts")?;
    let mounted = |path: &Path| mounts.iter().any(|mount| path.starts_with(&mount.mount_path));
    assert!(mounted(&pin) && mounted(&cgroup.context("no cgroup")?));
    let variable = &container.env.context("no environment")?[0];
    let source = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
    assert_eq!((&*variable.name, &*source.unwrap().field_path), ("NODE_NAME", "spec.nodeName"));
    let pod = pod()?;
    assert_eq!((pod.host_network, pod.host_pid), (Some(true), Some(true)));
    Ok(())
}

#[test]
fn the_agent_sees_the_namespaces_that_the_node_mounts_and_keeps_none() -> Result<()> {
    let mounts = container()?.volume_mounts.context("no mounts")?;
    let mount = mounts.iter().find(|mount| mount.mount_path == "/run/netns").context("no mount")?;
    assert_eq!(mount.read_only, Some(true));
    // Mounts that did not follow the node's would keep each Pod's namespace after its end.
    assert_eq!(mount.mount_propagation.as_deref(), Some("HostToContainer"));
    let volumes = pod()?.volumes.context("no volumes")?;
    let volume = volumes.iter().find(|volume| volume.name == mount.name).context("no volume")?;
    let folder = volume.host_path.as_ref().context("no folder of the node")?;
    // No network plugin may have made it yet.
    assert_eq!((&*folder.path, folder.type_.as_deref()), ("/run/netns", Some("DirectoryOrCreate")));
    Ok(())
}

#[test]
fn the_image_is_built_by_the_toolchain_and_holds_the_agent() {
    let channel = TOOLCHAIN.lines().find_map(|line| line.strip_prefix("channel = \"1.")).unwrap();
    let minor = channel.split('.').next().unwrap();
    assert!(DOCKERFILE.contains(&format!("FROM rust:1.{minor}-bookworm AS build")));
    let stages = DOCKERFILE.lines().filter(|line| line.starts_with("FROM ")).count();
    assert_eq!(stages, 2);
    assert!(DOCKERFILE.contains("ENTRYPOINT [\"/usr/local/bin/socklb\"]"));
}

#[test]
fn the_capabilities_are_enough_to_balance_to_leave_pods_alone_and_to_find_them() {
    let needs = [Need::NetnsCookie, Need::Program("setpriv")];
    lab::isolated_with(&needs, |lab| {
        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let cluster = Cluster::new(lab, guard, ApiServer::start(lab, guard)?)?;
        let serving = Serving::start(lab, 1)?;
        cluster.apply(&Service::tcp("web", WEB).to([serving.pods[0].socket(PORT)]))?;
        let client = lab.pod(1)?;
        client.inhabit()?;
        cluster.put::<Pod>(serde_json::from_value(json!({
            "metadata": {"name": "client", "annotations": {"socklb.io/opt-out": "true"}},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "c"}]},
            "status": {"phase": "Running", "podIP": client.address(),
                       "podIPs": [{"ip": client.address()}]},
        }))?)?;
        let capabilities = capabilities(&container()?)?;
        let added: BTreeSet<_> = capabilities.iter().map(|name| name.to_lowercase()).collect();
        let added: String = added.iter().map(|name| format!(",+{name}")).collect();
        let _agent = cluster.start_by(&["setpriv", &format!("--bounding-set=-all{added}")], &[])?;
        assert_eq!(connect(WEB, TIMEOUT)?.identity()?, 0);
        let alone = client.namespace().run(|| anyhow::Ok(connect(WEB, TIMEOUT).err()))?;
        let errno = alone.and_then(|error| error.raw_os_error());
        assert_eq!(errno, Some(Errno::NETUNREACH.raw_os_error()));
        Ok(())
    });
}

#[test]
fn the_removal_takes_out_of_force_what_the_agents_leave() {
    lab::isolated_with(&[Need::Program("setpriv")], |lab| {
        let removal: DaemonSet = object_in(REMOVAL, "DaemonSet")?;
        let pod = removal.spec.and_then(|spec| spec.template.spec).context("no Pod")?;
        let cleanup = &pod.init_containers.context("no init container")?[0];
        assert_eq!(cleanup.image, container()?.image);
        let arguments = cleanup.args.clone().context("no arguments")?;
        let cli = Cli::try_parse_from([&["socklb".to_owned()][..], &arguments].concat())?;
        let Command::Cleanup(options) = cli.command else { panic!("not cleaned: {arguments:?}") };
        let agents = container()?.args.context("no arguments")?;
        let cli = Cli::try_parse_from([&["socklb".to_owned()][..], &agents].concat())?;
        let Command::Run(run) = cli.command else { panic!("the agent is not run: {agents:?}") };
        assert_eq!(options.pin, run.pin);

        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let cluster = Cluster::new(lab, guard, ApiServer::start(lab, guard)?)?;
        let serving = Serving::start(lab, 1)?;
        cluster.apply(&Service::tcp("web", WEB).to([serving.pods[0].socket(PORT)]))?;
        let agent = cluster.start(&[])?;
        let added: Vec<_> = capabilities(cleanup)?.iter().map(|it| it.to_lowercase()).collect();
        let clean = || {
            std::process::Command::new("setpriv")
                .arg(format!("--bounding-set=-all,+{}", added.join(",+")))
                .arg(lab::agent::binary()?)
                .args(["cleanup", "--pin"])
                .arg(cluster.pins())
                .output()
                .context("cannot start setpriv")
        };
        assert!(!clean()?.status.success(), "the agent runs");
        agent.stop()?;
        assert_eq!(connect(WEB, TIMEOUT)?.identity()?, 0);
        let cleaned = clean()?;
        ensure!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
        let errno = connect(WEB, TIMEOUT).err().and_then(|error| error.raw_os_error());
        assert_eq!(errno, Some(Errno::NETUNREACH.raw_os_error()));
        Ok(())
    });
}
