//! What the agent reads of a cluster beside Services and endpoints: its Node, Pods and Namespaces that
//! opt out, Service networks; and what it is allowed to read. Numbers in names are those of
//! docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod},
    networking::v1::ServiceCIDR,
    rbac::v1::ClusterRole,
};
use lab::{
    Lab,
    apiserver::{ApiServer, Kind},
    client::{TIMEOUT, connect},
    cluster::{Cluster, NODE},
    manifest::Service,
    requirement::Need,
    serving::{PORT, Serving},
    socket::Errno,
    stage::{eventually, logged, refusal},
};
use serde_json::{Value, json};

const WEB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
const UNSERVED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 99), 80);
const KNOWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 50), 80);
const ELSEWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 99), 80);

fn cluster(lab: &Lab) -> Result<Cluster<'_>> {
    let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
    Cluster::new(lab, guard, ApiServer::start(lab, guard)?)
}

fn object<K: Kind>(object: Value) -> Result<K> {
    Ok(serde_json::from_value(object)?)
}

fn node(zone: &str) -> Result<Node> {
    object(json!({"metadata": {"name": NODE, "labels": {"topology.kubernetes.io/zone": zone}}}))
}

fn reached(vip: SocketAddrV4) -> Option<u16> {
    connect(vip, TIMEOUT).ok()?.identity().ok()
}

/// Whether the Service leads to this Pod alone. Of two that are chosen among by chance, one is met so
/// often in a row once in four thousand million times.
fn leads_only_to(pod: u16) -> bool {
    (0..32).all(|_| reached(WEB) == Some(pod))
}

fn errno(vip: SocketAddrV4) -> Option<i32> {
    connect(vip, TIMEOUT).err()?.raw_os_error()
}

#[test]
fn point_13_the_zone_of_the_own_node_is_live() {
    lab::isolated(|lab| {
        let (cluster, serving) = (cluster(lab)?, Serving::start(lab, 2)?);
        let hint = |zone| json!({"hints": {"forZones": [{"name": zone}]}});
        let web = Service::tcp("web", WEB)
            .also(serving.pods[0].socket(PORT), hint("z0"))
            .also(serving.pods[1].socket(PORT), hint("z1"));
        cluster.apply(&web)?;
        cluster.put(node("z0")?)?;
        let other: Node = object(json!({
            "metadata": {"name": "there", "labels": {"topology.kubernetes.io/zone": "z1"}},
        }))?;
        cluster.put(other)?;
        let _agent = cluster.start(&[])?;
        for _ in 0..20 {
            assert_eq!(reached(WEB), Some(0));
        }
        cluster.put(node("z1")?)?;
        eventually("the other zone's", || Ok(leads_only_to(1)))
    });
}

#[test]
fn a_node_that_is_not_there_is_named_and_followed_when_it_comes() {
    lab::isolated(|lab| {
        let (cluster, serving) = (cluster(lab)?, Serving::start(lab, 2)?);
        let web = Service::tcp("web", WEB)
            .also(serving.pods[0].socket(PORT), json!({"hints": {"forZones": [{"name": "z0"}]}}))
            .also(serving.pods[1].socket(PORT), json!({"hints": {"forZones": [{"name": "z1"}]}}));
        cluster.apply(&web)?;
        let agent = cluster.start(&["--node-name", "nowhere"])?;
        let line = logged(&agent, &["there is no Node", "nowhere"])?;
        ensure!(line.contains("--node-name") && line.contains("Services are balanced"), "{line}");
        let both: BTreeSet<_> = (0..64).filter_map(|_| reached(WEB)).collect();
        assert_eq!(both, BTreeSet::from([0, 1]));
        let labels = json!({"topology.kubernetes.io/zone": "z1"});
        let there: Node = object(json!({"metadata": {"name": "nowhere", "labels": labels}}))?;
        cluster.put(there)?;
        logged(&agent, &["the Node", "nowhere", "is there"])?;
        eventually("its zone's", || Ok(leads_only_to(1)))?;
        cluster.remove::<Node>("", "nowhere")?;
        logged(&agent, &["there is no Node", "nowhere"])?;
        eventually("all", || Ok((0..64).any(|_| reached(WEB) == Some(0))))
    });
}

#[test]
fn pods_and_namespaces_of_the_cluster_opt_out() {
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let (cluster, serving) = (cluster(lab)?, Serving::start(lab, 1)?);
        cluster.apply(&Service::tcp("web", WEB).to([serving.pods[0].socket(PORT)]))?;
        let client = lab.pod(1)?;
        client.inhabit()?;
        let pod = |labels: Value| {
            object::<Pod>(json!({
                "metadata": {"name": "client", "labels": labels},
                "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "c"}]},
                "status": {"phase": "Running", "podIP": client.address(),
                           "podIPs": [{"ip": client.address()}]},
            }))
        };
        let namespace = |labels: Value| {
            object::<Namespace>(json!({"metadata": {"name": "default", "labels": labels}}))
        };
        cluster.put(pod(json!({"socklb.io/opt-out": "true"}))?)?;
        let _agent = cluster.start(&[])?;
        let alone = Some(Errno::NETUNREACH.raw_os_error());
        let is_alone = || client.namespace().run(|| Ok(errno(WEB) == alone));
        ensure!(is_alone()?, "it is not left alone from the start");
        cluster.put(pod(json!({"socklb.io/opt-out": "false"}))?)?;
        eventually("opting in", || Ok(!is_alone()?))?;
        cluster.remove::<Pod>("default", "client")?;
        cluster.put(pod(json!({}))?)?;
        cluster.put(namespace(json!({"socklb.io/opt-out": "true"}))?)?;
        eventually("the Namespace opting out", is_alone)?;
        cluster.remove::<Pod>("default", "client")?;
        eventually("the Pod gone", || Ok(!is_alone()?))
    });
}

#[test]
fn point_18_service_networks_come_from_the_cluster_and_change() {
    lab::isolated(|lab| {
        let (cluster, serving) = (cluster(lab)?, Serving::start(lab, 1)?);
        cluster.apply(&Service::tcp("web", WEB).to([serving.pods[0].socket(PORT)]))?;
        // Not served, whatever its ClusterIP, and known all the same.
        let labels = json!({"labels": {"service.kubernetes.io/headless": ""}});
        cluster.apply(&Service::tcp("known", KNOWN).metadata(labels))?;
        let agent = cluster.start(&["--refuse-unserved"])?;
        let refused = Some(refusal(Errno::CONNREFUSED)?.raw_os_error());
        let alone = Some(Errno::NETUNREACH.raw_os_error());
        eventually("refusing", || Ok(errno(UNSERVED) == refused))?;
        assert_eq!((reached(WEB), errno(ELSEWHERE), errno(KNOWN)), (Some(0), alone, alone));
        let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/16"]}});
        cluster.put::<ServiceCIDR>(object(more)?)?;
        eventually("refusing there too", || Ok(errno(ELSEWHERE) == refused))?;
        assert_eq!((reached(WEB), errno(UNSERVED)), (Some(0), refused));
        cluster.remove::<ServiceCIDR>("", "more")?;
        eventually("refusing there no more", || Ok(errno(ELSEWHERE) == alone))?;
        let wide = json!({"metadata": {"name": "wide"}, "spec": {"cidrs": ["10.0.0.0/7"]}});
        cluster.put::<ServiceCIDR>(object(wide)?)?;
        logged(&agent, &["nothing is refused", "10.0.0.0/7", "--service-cidr"])?;
        eventually("refusing nowhere", || Ok(errno(UNSERVED) == alone))?;
        assert_eq!(reached(WEB), Some(0));
        Ok(())
    });
}

#[test]
fn point_19_a_service_without_endpoints_refuses_until_there_is_one() {
    lab::isolated(|lab| {
        let (cluster, serving) = (cluster(lab)?, Serving::start(lab, 1)?);
        let web = Service::tcp("web", WEB);
        cluster.apply(&web)?;
        let _agent = cluster.start(&[])?;
        let refused = Some(refusal(Errno::CONNREFUSED)?.raw_os_error());
        assert_eq!(errno(WEB), refused);
        cluster.apply(&web.to([serving.pods[0].socket(PORT)]))?;
        eventually("an endpoint", || Ok(reached(WEB) == Some(0)))?;
        // What Prometheus asks.
        let (status, metrics) = cluster.probe("/metrics")?;
        ensure!(status == 200 && metrics.ends_with("# EOF\n"), "{metrics}");
        let decided = |name| format!("socklb_decisions_total{{decision=\"{name}\"}}");
        let published = "socklb_publication_duration_seconds_count".to_owned();
        // A publication is in force before it is counted.
        [published, decided("no_backend"), decided("translated")]
            .iter()
            .try_for_each(|name| eventually(name, || Ok(cluster.metric(name)? >= 1.0)))
    });
}

#[test]
fn the_agent_asks_for_what_its_cluster_role_grants_and_for_all_of_it() {
    lab::isolated_with(&[Need::Double], |lab| {
        let cluster = cluster(lab)?;
        cluster.start(&["--refuse-unserved"])?.stop()?;
        cluster.start(&["--endpoints-api", "endpoints"])?.stop()?;
        let manifest = include_str!("../../deploy/daemonset.yaml");
        let role =
            manifest.split("\n---\n").find(|document| document.contains("kind: ClusterRole\n"));
        let role: ClusterRole = serde_saphyr::from_str(role.context("no ClusterRole")?)?;
        let mut granted = BTreeSet::new();
        for rule in role.rules.iter().flatten() {
            assert_eq!(rule.verbs, ["list", "watch"]);
            for group in rule.api_groups.iter().flatten() {
                let resources = rule.resources.iter().flatten();
                granted.extend(resources.map(|resource| (group.clone(), resource.clone())));
            }
        }
        let asked = cluster.double().asked();
        let asked = asked.iter().map(|asked| (asked.resource.group(), asked.resource.plural()));
        assert_eq!(asked.collect::<BTreeSet<_>>(), granted);
        Ok(())
    });
}
