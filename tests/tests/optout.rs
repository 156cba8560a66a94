//! Pods that opt out, on the real kernel: found by their addresses, known by their cookies, and left
//! alone by the programs.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{self, Child},
    sync::mpsc::channel,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use lab::{
    Lab,
    exchange::Way,
    family::{Dual, Family},
    manifest::Service,
    programs::Transport,
    requirement::Need::NetnsCookie,
    server::Server,
    socket::{Errno, Socket},
    stage::{Stage, eventually, refusal},
};
use lb_userspace::{
    netns::current_cookie,
    optout::{OPT_OUT, OnThisNode, OptOuts, Rules},
    source::{Event, Kind, Object, ObjectKey},
};
use serde_json::json;
use tokio::runtime;

/// No test takes as long, unless what it waits for never comes.
const AT_MOST: Duration = Duration::from_secs(20);
const LOOPBACK: u32 = 1;

/// An address that no other test on this machine has: the search goes through all namespaces.
fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a80_0000 | ((process::id() << 1 | index) & 0x007f_ffff))
}

fn assign(address: Ipv4Addr) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(handle.address().add(LOOPBACK, IpAddr::V4(address), 32).execute().await?)
    })
}

/// The cookie of a Pod's namespace, which the search finds from now on.
fn inhabit(pod: &lab::pod::Pod) -> Result<u64> {
    pod.inhabit()?;
    pod.namespace().run(current_cookie)?.context("the kernel told one before")
}

fn pod(name: &str, address: Ipv4Addr, opt_out: &str) -> Event {
    Event::Apply(Object::Pod(Box::new(Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("lab".into()),
            annotations: Some([(OPT_OUT.to_owned(), opt_out.to_owned())].into()),
            ..ObjectMeta::default()
        },
        status: Some(PodStatus { pod_ip: Some(address.to_string()), ..PodStatus::default() }),
        ..Pod::default()
    })))
}

#[test]
fn the_namespace_of_a_pod_that_opts_out_is_found_by_its_address() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let (first, second) = (lab.pod(1)?, lab.pod(2)?);
        let cookies = [inhabit(&first)?, inhabit(&second)?];
        let (first, second) = (first.namespace(), second.namespace());
        first.run(|| assign(address(0)))?;
        let (sender, sets) = channel();
        let opt_outs = OptOuts::start(Rules::default(), OnThisNode, move |set| {
            // Nobody listens any more at the end of the test.
            let _ = sender.send(set.clone());
        })?;
        let next = || sets.recv_timeout(AT_MOST);

        opt_outs.take(pod("first", address(0), "true"));
        // Its namespace is there, but it has not got its address yet.
        opt_outs.take(pod("second", address(1), "true"));
        opt_outs.take(Event::Synced);
        assert_eq!(next()?, BTreeSet::from([cookies[0]]));
        second.run(|| assign(address(1)))?;
        assert_eq!(next()?, BTreeSet::from(cookies));

        opt_outs.take(pod("first", address(0), "false"));
        assert_eq!(next()?, BTreeSet::from([cookies[1]]));
        let (namespace, name) = ("lab".into(), "second".into());
        opt_outs.take(Event::Delete(ObjectKey { kind: Kind::Pod, namespace, name }));
        assert_eq!(next()?, BTreeSet::new());
        Ok(())
    });
}

#[test]
fn the_agents_own_namespace_never_opts_out() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let there = lab.pod(1)?;
        let cookie = inhabit(&there)?;
        // A Pod that shares the agent's namespace, though its manifest does not say so.
        assign(address(0))?;
        there.namespace().run(|| assign(address(1)))?;
        let (sender, sets) = channel();
        let opt_outs = OptOuts::start(Rules::default(), OnThisNode, move |set| {
            // As above.
            let _ = sender.send(set.clone());
        })?;
        opt_outs.take(pod("here", address(0), "true"));
        opt_outs.take(pod("there", address(1), "true"));
        opt_outs.take(Event::Synced);
        let last = sets.try_iter().last().context("a set before Synced")?;
        assert_eq!(last, BTreeSet::from([cookie]));
        Ok(())
    });
}

const WEB: Dual = Dual::cluster_ip(10, 80);
const UNSERVED: Dual = Dual::cluster_ip(10, 81);
const PORT: u16 = 8080;
const LEFT_ALONE: Result<u16, Errno> = Err(Errno::NETUNREACH);

/// A Service, its Pod, and two Pods that are clients.
struct Cluster<'lab> {
    lab: &'lab Lab,
    stage: Stage<'lab>,
    clients: [lab::pod::Pod; 2],
    /// One in each client.
    processes: Vec<Child>,
    _servers: [Server; 2],
}

impl<'lab> Cluster<'lab> {
    fn new(lab: &'lab Lab) -> Result<Self> {
        let (server, clients) = (lab.pod(0)?, [lab.pod(1)?, lab.pod(2)?]);
        let stage = Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))?;
        let web = Service::tcp("web", WEB).and(Transport::Udp, 80);
        stage.apply(&web.to([server.dual(PORT)]))?;
        let servers = [server.serve([(PORT, 1)])?, server.serve_udp([(PORT, 1)])?];
        let processes = clients.iter().map(lab::pod::Pod::inhabit).collect::<Result<_>>()?;
        let cluster = Self { lab, stage, clients, processes, _servers: servers };
        for (index, client) in cluster.clients.iter().enumerate() {
            client.namespace().run(|| assign(address(index as u32)))?;
            cluster.label(index, json!({}))?;
        }
        Ok(cluster)
    }

    /// Gives a client these labels. Its address is one that no Pod of another test has.
    fn label(&self, client: usize, labels: serde_json::Value) -> Result<()> {
        let name = format!("client-{client}");
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "status": {"podIP": address(client as u32)},
        });
        self.stage.write(&name, &pod.to_string())
    }

    /// Gives the Namespace of all of them these labels.
    fn label_namespace(&self, labels: serde_json::Value) -> Result<()> {
        let metadata = json!({"name": "default", "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        self.stage.write("namespace", &namespace.to_string())
    }

    /// Fails unless all kinds of sockets of the node and of both clients get this.
    fn expect(
        &self,
        at: Dual,
        node: Result<u16, Errno>,
        pods: [Result<u16, Errno>; 2],
    ) -> Result<()> {
        self.check("the node", at, node)?;
        for (pod, wanted) in self.clients.iter().zip(pods) {
            pod.namespace().run(|| self.check("a Pod", at, wanted))?;
        }
        Ok(())
    }

    fn check(&self, who: &str, at: Dual, wanted: Result<u16, Errno>) -> Result<()> {
        for &family in self.lab.families()? {
            let socket = Socket::tcp(family)?;
            let got = socket.connect(at.seen_by(family)).and_then(|()| socket.identity());
            ensure!(got == wanted, "{who} at {at:?}, {family:?}: {got:?}, not {wanted:?}");
            let got = asked(&Socket::udp(family)?, at.seen_by(family));
            ensure!(got == wanted, "{who} at {at:?}, UDP, {family:?}: {got:?}, not {wanted:?}");
        }
        Ok(())
    }

    fn until(&self, what: &str, pods: [Result<u16, Errno>; 2]) -> Result<()> {
        eventually(what, || Ok(self.expect(WEB, Ok(1), pods).is_ok()))
    }
}

/// Who answers to a datagram of an unconnected socket.
fn asked(socket: &Socket, at: impl Into<SocketAddr>) -> Result<u16, Errno> {
    Ok(socket.ask(Way::SendTo, b"who?", at)?.identity)
}

#[test]
fn a_pod_is_left_alone_as_long_as_its_label_says_so() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let cluster = Cluster::new(lab)?;
        let agent = cluster.stage.start(&[])?;
        cluster.expect(WEB, Ok(1), [Ok(1), Ok(1)])?;
        let earlier = cluster.clients[0].namespace().run(|| Socket::udp(Family::V4))?;
        assert_eq!(asked(&earlier, WEB.v4), Ok(1));
        cluster.label(0, json!({OPT_OUT: "true"}))?;
        cluster.until("opting out", [LEFT_ALONE, Ok(1)])?;
        assert_eq!(asked(&earlier, WEB.v4), LEFT_ALONE, "a socket that was balanced before");
        cluster.label(1, json!({OPT_OUT: "true"}))?;
        cluster.until("both opting out", [LEFT_ALONE, LEFT_ALONE])?;
        cluster.label(0, json!({}))?;
        cluster.until("opting in again", [Ok(1), LEFT_ALONE])?;
        agent.stop()?;
        // No socket is balanced before the agent knows who opts out.
        cluster.label(0, json!({OPT_OUT: "true"}))?;
        cluster.label(1, json!({}))?;
        let cidr = ["--refuse-unserved", "--service-cidr", "10.96.0.0/16,fd00:10:96::/112"];
        let _agent = cluster.stage.start(&cidr)?;
        cluster.expect(WEB, Ok(1), [LEFT_ALONE, Ok(1)])?;
        let refused = Err(refusal(Errno::CONNREFUSED)?);
        cluster.expect(UNSERVED, refused, [LEFT_ALONE, refused])
    });
}

#[test]
fn a_pod_is_left_alone_though_no_process_was_in_it_for_a_while() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let mut cluster = Cluster::new(lab)?;
        cluster.label(0, json!({OPT_OUT: "true"}))?;
        let _agent = cluster.stage.start(&[])?;
        cluster.expect(WEB, Ok(1), [LEFT_ALONE, Ok(1)])?;
        // As after an init container. A descriptor of this process, which the agent does not look
        // at, keeps the namespace.
        let process = &mut cluster.processes[0];
        process.kill()?;
        process.wait()?;
        // The search that finds the second Pod does not find the first.
        cluster.label(1, json!({OPT_OUT: "true"}))?;
        cluster.until("the second opting out too", [LEFT_ALONE, LEFT_ALONE])?;
        // The next container begins with a connect.
        cluster.clients[0].inhabit()?;
        cluster.expect(WEB, Ok(1), [LEFT_ALONE, LEFT_ALONE])?;
        cluster.label(0, json!({}))?;
        cluster.until("opting in again", [Ok(1), LEFT_ALONE])
    });
}

#[test]
fn the_pods_of_a_namespace_are_left_alone_unless_they_say_otherwise() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let cluster = Cluster::new(lab)?;
        cluster.label(1, json!({OPT_OUT: "false", "app": "mesh"}))?;
        let agent = cluster.stage.start(&[])?;
        cluster.label_namespace(json!({OPT_OUT: "true"}))?;
        cluster.until("opting out", [LEFT_ALONE, Ok(1)])?;
        cluster.label_namespace(json!({"mesh": "on"}))?;
        cluster.until("opting in again", [Ok(1), Ok(1)])?;
        agent.stop()?;
        let agent = cluster.stage.start(&["--opt-out-namespaces", "mesh=on"])?;
        cluster.expect(WEB, Ok(1), [LEFT_ALONE, Ok(1)])?;
        agent.stop()?;
        cluster.label(1, json!({"app": "mesh"}))?;
        let _agent = cluster.stage.start(&["--opt-out", "app=mesh"])?;
        cluster.expect(WEB, Ok(1), [Ok(1), LEFT_ALONE])
    });
}

#[test]
fn host_scope_leaves_all_pods_alone() {
    lab::isolated_with(&[NetnsCookie], |lab| {
        let cluster = Cluster::new(lab)?;
        let agent = cluster.stage.start(&["--scope", "host"])?;
        cluster.expect(WEB, Ok(1), [LEFT_ALONE, LEFT_ALONE])?;
        agent.stop()?;
        let _agent = cluster.stage.start(&[])?;
        cluster.expect(WEB, Ok(1), [Ok(1), Ok(1)])
    });
}
