//! Pods that opt out, on the real kernel: found by their addresses, known by their cookies.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    process::{self, Command},
    sync::mpsc::channel,
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use lab::{netns::Namespace, requirement::Need};
use lb_userspace::{
    netns::current_cookie,
    optout::{OPT_OUT, OnThisNode, OptOuts, Rules},
    source::{Event, Kind, Object, ObjectKey},
};
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

/// Puts a process into a namespace, as every Pod has one. It goes with the experiment's cgroup.
fn inhabit(namespace: &Namespace) -> Result<u64> {
    namespace.run(|| {
        Command::new("sleep").arg("600").spawn()?;
        current_cookie()?.context("the kernel told one before")
    })
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
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let (first, second) = (lab.pod(1)?, lab.pod(2)?);
        let (first, second) = (first.namespace(), second.namespace());
        let cookies = [inhabit(first)?, inhabit(second)?];
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
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        let there = lab.pod(1)?;
        let cookie = inhabit(there.namespace())?;
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
