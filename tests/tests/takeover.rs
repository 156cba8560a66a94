//! One agent after the other: who balances meanwhile, what other flags change, and which tables are
//! not given up. Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result};
use aya::programs::links::{FdLink, PinnedLink};
use lab::{
    Lab,
    agent::binary,
    client::{TIMEOUT, connect},
    family::Dual,
    manifest::Service,
    pod::Pod,
    stage::{Stage, eventually},
};

const WEB: Dual = Dual::cluster_ip(10, 80);
/// Where the first backend of a Pod listens.
const PORT: u16 = 8080;
const FORWARD: [&str; 4] = ["connect4", "connect6", "sendmsg4", "sendmsg6"];
const REVERSE: [&str; 4] = ["getpeername4", "getpeername6", "recvmsg4", "recvmsg6"];
const BIND: [&str; 2] = ["post_bind4", "post_bind6"];

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))
}

/// A Service that leads to the first port of these Pods.
fn web<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Service {
    Service::tcp("web", WEB).to(pods.into_iter().map(|pod| pod.dual(PORT)))
}

fn identity() -> io::Result<u16> {
    connect(WEB.v4, TIMEOUT)?.identity()
}

/// The hooks that are attached, with the numbers of link and program.
fn attached(stage: &Stage<'_>) -> Result<BTreeMap<String, (u32, u32)>> {
    let mut links = BTreeMap::new();
    for entry in fs::read_dir(stage.pins())? {
        let name = entry?.file_name().into_string().ok().context("names are in UTF-8")?;
        if !name.starts_with("lb_") {
            let link = FdLink::from(PinnedLink::from_pin(stage.pins().join(&name))?);
            let info = link.info()?;
            links.insert(name, (info.id(), info.program_id()));
        }
    }
    Ok(links)
}

#[test]
fn point_27_the_node_keeps_balancing_without_an_agent_and_while_one_takes_over() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 0)])?;
        stage.apply(&web([&pod]))?;
        let stop = AtomicBool::new(false);
        let agent = stage.start(&[])?;
        let connects = thread::scope(|scope| {
            let hammer = scope.spawn(|| -> io::Result<u64> {
                let mut connects = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(identity()?, 0);
                    connects += 1;
                }
                Ok(connects)
            });
            let restarts = || -> Result<()> {
                let (status, _) = agent.stop()?;
                assert!(status.success());
                // Each agent makes new tables, here of other sizes, and takes over in one step.
                stage.start(&["--max-backends", "1000"])?.kill()?;
                stage.start(&["--max-frontends", "50"])?.stop()?;
                Ok(())
            };
            let restarted = restarts();
            stop.store(true, Ordering::Relaxed);
            restarted?;
            Ok::<_, anyhow::Error>(hammer.join().expect("no panic")?)
        })?;
        assert!(connects > 100, "{connects} connects tell nothing");
        assert_eq!(identity()?, 0);
        Ok(())
    });
}

#[test]
fn a_restart_keeps_the_links_and_other_flags_change_the_hooks() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let start = |flags: &[&str]| {
            stage.start(flags)?.stop()?;
            attached(&stage)
        };
        let names = |hooks: &[&[&str]]| {
            let names = hooks.concat().into_iter().map(str::to_owned);
            names.collect::<BTreeSet<_>>()
        };
        let first = start(&[])?;
        assert!(first.keys().eq(&names(&[&FORWARD, &REVERSE])), "{first:?}");
        let second = start(&["--max-frontends", "50"])?;
        assert!(first.keys().eq(second.keys()), "{second:?}");
        for (hook, (link, program)) in &first {
            assert_eq!(second[hook].0, *link, "{hook} was attached anew");
            assert_ne!(second[hook].1, *program, "{hook} runs the program before");
        }
        let third = start(&["--peername", "none", "--protect-nodeports"])?;
        assert!(third.keys().eq(&names(&[&FORWARD, &BIND])), "{third:?}");
        assert!(
            FORWARD.iter().all(|hook| third[*hook].0 == first[*hook].0),
            "{first:?}, {third:?}"
        );
        let last = start(&[])?;
        assert!(last.keys().eq(&names(&[&FORWARD, &REVERSE])), "{last:?}");
        assert!(FORWARD.iter().all(|hook| last[*hook].0 == first[*hook].0), "{first:?}, {last:?}");
        assert!(REVERSE.iter().all(|hook| last[*hook].0 != first[*hook].0), "{first:?}, {last:?}");
        Ok(())
    });
}

#[test]
fn tables_that_are_full_again_are_followed_again() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?, lab.pod(1)?];
        let _servers = [pods[0].serve([(PORT, 0)])?, pods[1].serve([(PORT, 1)])?];
        let many = (1..=9).map(|port| pods[0].dual(port));
        stage.apply(&Service::tcp("many", Dual::cluster_ip(12, 80)).to(many))?;
        stage.apply(&web([&pods[0]]))?;
        let small = ["--max-backends", "8"];
        stage.start(&small)?.stop()?;
        let agent = stage.start(&small)?;
        assert_eq!(identity()?, 0);
        stage.apply(&web([&pods[1]]))?;
        eventually("the change is followed", || Ok(identity()? == 1))?;
        agent.stop()?;
        Ok(())
    });
}

#[test]
fn tables_that_are_too_small_do_not_replace_those_in_force() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?, lab.pod(1)?];
        let _servers = [pods[0].serve([(PORT, 0)])?, pods[1].serve([(PORT, 1)])?];
        stage.apply(&web(&pods))?;
        stage.start(&[])?.stop()?;
        let small = stage.arguments(&["--max-backends", "1"]);
        let output = Command::new(binary()?).args(small).output()?;
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("--max-backends") && error.contains("stay in force"), "{error}");
        assert!(identity()? < 2);
        Ok(())
    });
}
