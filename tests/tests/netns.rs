//! Network namespaces of the node: found wherever they hide, told apart by cookie, and entered.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    net::UdpSocket,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context as _, Result};
use lab::{netns::Namespace as Made, requirement::Need};
use lb_userspace::netns::{Found, Namespace, Search, current_cookie, namespaces};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount, umount2},
    sched::{CloneFlags, unshare},
};

const NONE: Option<&str> = None;
const OWN: Option<&str> = Some("/proc/thread-self/ns/net");

fn inode() -> Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

fn by_inode(found: &Found, inode: u64) -> Option<&Namespace> {
    let mut matching = found.namespaces.iter().filter(|namespace| namespace.inode == inode);
    let first = matching.next();
    assert!(matching.next().is_none(), "{inode} was found twice");
    first
}

#[test]
fn finds_the_callers_namespace_with_its_cookie() {
    lab::isolated(|_| {
        let found = namespaces(Search::Usual)?;
        let own = by_inode(&found, inode()?).context("the caller's namespace is missing")?;
        assert_eq!(own.cookie, current_cookie()?);
        let process = fs::metadata("/proc/self/ns/net")?.ino();
        let process = by_inode(&found, process).context("the process's namespace is missing")?;
        assert_ne!(process.inode, own.inode, "the laboratory has left it");
        if own.cookie.is_some() {
            assert_ne!(process.cookie, own.cookie, "each has its own");
        }
        Ok(())
    });
}

#[test]
fn finds_the_namespace_of_another_process() {
    lab::isolated(|_| {
        let made = Made::new()?;
        let (inode, mut process) = made.run(|| -> Result<_> {
            let process = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?;
            Ok((inode()?, process))
        })?;
        let found = namespaces(Search::Usual)?;
        assert!(by_inode(&found, inode).is_some());
        process.kill()?;
        process.wait()?;
        let found = namespaces(Search::Usual)?;
        assert!(by_inode(&found, inode).is_none(), "a descriptor is no process");
        Ok(())
    });
}

#[test]
fn finds_a_mounted_namespace_and_stays_in_it_when_it_is_unmounted() {
    lab::isolated(|lab| {
        // For a mount namespace of this thread's own.
        lab.bpffs()?;
        let point = lab.scratch().join("a name");
        File::create(&point)?;
        let made = Made::new()?;
        let inode = made.run(|| -> Result<_> {
            // On a thread that shares the mount namespace of the one that started it.
            mount(OWN, &point, NONE, MsFlags::MS_BIND, NONE)?;
            inode()
        })?;
        drop(made);
        let found = namespaces(Search::Usual)?;
        umount(&point)?;
        let namespace = by_inode(&found, inode).context("the mounted namespace is missing")?;
        let (entered, cookie) = namespace.run(|| (self::inode(), current_cookie()))?;
        assert_eq!((entered?, cookie?), (inode, namespace.cookie));
        let gone = namespaces(Search::Usual)?;
        assert!(by_inode(&gone, inode).is_none(), "nobody else has it any more");
        Ok(())
    });
}

/// Whether a container finds the namespaces with these cookies: it has `run/netns` of the host as a
/// volume that the host's mounts propagate to, and nothing else. The first answer only says that it
/// has come so far.
fn look_from_a_container(
    run: &Path,
    volume: &Path,
    asked: Receiver<u64>,
) -> Receiver<Result<bool>> {
    let (answer, answers) = channel();
    let (run, volume) = (run.to_owned(), volume.to_owned());
    thread::spawn(move || {
        let look = || -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let (bind, slave) = (MsFlags::MS_BIND | MsFlags::MS_REC, MsFlags::MS_SLAVE);
            mount(Some(&run.join("netns")), &volume, NONE, bind, NONE)?;
            mount(NONE, &volume, NONE, slave | MsFlags::MS_REC, NONE)?;
            // Nothing else of the host's.
            umount2(&run, MntFlags::MNT_DETACH)?;
            answer.send(Ok(true))?;
            asked.iter().try_for_each(|cookie| {
                let found = namespaces(Search::Usual)?.namespaces;
                Ok(answer.send(Ok(found.iter().any(|it| it.cookie == Some(cookie))))?)
            })
        };
        if let Err(error) = look() {
            // Nobody listens any more when the test has failed before.
            let _ = answer.send(Err(error));
        }
    });
    answers
}

#[test]
fn finds_a_namespace_that_the_host_mounts_later_inside_of_a_volume() {
    lab::isolated_with(&[Need::NetnsCookie], |lab| {
        // As above.
        lab.bpffs()?;
        let (run, volume) = (lab.scratch().join("run"), lab.scratch().join("volume"));
        let netns = run.join("netns");
        [&run, &volume].iter().try_for_each(fs::create_dir)?;
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), NONE)?;
        // As systemd does.
        mount(NONE, &run, NONE, MsFlags::MS_SHARED, NONE)?;
        fs::create_dir(&netns)?;
        let (ask, asked) = channel();
        let answers = look_from_a_container(&run, &volume, asked);
        assert!(answers.recv()??);
        let sees = |cookie| -> Result<bool> {
            ask.send(cookie)?;
            answers.recv()?
        };
        // The first thing that `ip netns add` and network plugins do, which covers the volume.
        mount(Some(&netns), &netns, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
        mount(NONE, &netns, NONE, MsFlags::MS_SHARED | MsFlags::MS_REC, NONE)?;
        let point = netns.join("pod");
        File::create(&point)?;
        let made = Made::new()?;
        let cookie = made.run(|| -> Result<_> {
            mount(OWN, &point, NONE, MsFlags::MS_BIND, NONE)?;
            current_cookie()?.context("the kernel told one before")
        })?;
        drop(made);
        assert!(sees(cookie)?, "only a mount of the host's keeps it");
        umount(&point)?;
        assert!(!sees(cookie)?, "the volume does not keep what the host gave up");
        Ok(())
    });
}

#[test]
fn finds_namespaces_of_threads_and_descriptors_only_if_asked() {
    lab::isolated(|_| {
        let held = Made::new()?;
        let held_inode = held.run(inode)?;
        let threaded = Made::new()?;
        let (told, tell) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = threaded.spawn(move || {
            told.send(inode()).unwrap();
            // Until the other end is dropped.
            ended.recv().unwrap_err();
        })?;
        let threaded_inode = tell.recv()??;
        drop(threaded);
        for (search, expected) in [(Search::Usual, false), (Search::Everywhere, true)] {
            let found = namespaces(search)?;
            for inode in [held_inode, threaded_inode] {
                assert_eq!(by_inode(&found, inode).is_some(), expected, "{search:?}, {inode}");
            }
        }
        drop(end);
        thread.join().unwrap();
        Ok(())
    });
}

#[test]
fn sockets_made_inside_of_a_namespace_stay_there() {
    lab::isolated(|_| {
        let made = Made::new()?;
        let inode = made.run(inode)?;
        let found = namespaces(Search::Everywhere)?;
        let namespace = by_inode(&found, inode).context("the namespace is missing")?;
        let outside = UdpSocket::bind("127.0.0.1:4242")?;
        let inside = namespace.run(|| UdpSocket::bind("127.0.0.1:4242"))??;
        assert_eq!(inside.local_addr()?, outside.local_addr()?, "one port, two namespaces");
        Ok(())
    });
}

#[test]
fn processes_that_come_and_go_are_no_error() {
    lab::isolated(|_| {
        // A sandbox may hide its first process, even from root.
        let hidden = namespaces(Search::Usual)?.denied;
        thread::scope(|scope| {
            let churn = scope
                .spawn(|| (0..300).try_for_each(|_| Command::new("true").status().map(|_| ())));
            while !churn.is_finished() {
                let found = namespaces(Search::Everywhere).unwrap();
                assert_eq!(found.denied, hidden, "a process that ends is not one that is hidden");
            }
            churn.join().unwrap()
        })?;
        Ok(())
    });
}
