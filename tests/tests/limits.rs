//! What a socket hook cannot do, as docs/semantics.md says it. Numbers in names are those of that page.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lab::{
    Lab,
    exchange::Means,
    family::{Dual, Family},
    plane::Plane,
    port::{Port, cluster_ip},
    server::Server,
    serving::{PORT, Serving},
    socket::{Errno, Socket},
};
use lb_userspace::{
    dataplane::{Configuration, Settings},
    publish::Sizes,
};
use socket2::SockRef;

const WEB: Dual = cluster_ip(10, 80);
/// Who answers at the backend's address on the other link.
const ELSEWHERE: u16 = 9;

fn publish(plane: &mut Plane, backend: Dual) -> Result<()> {
    plane.publish(&Port::tcp("lab/web:tcp").at([WEB]).to([backend]))?;
    plane.publish(&Port::udp("lab/web:udp").at([WEB]).to([backend]))
}

/// A socket as `means` makes it.
fn socket(means: Means, family: Family) -> Result<Socket, Errno> {
    match means {
        Means::Tcp => Socket::tcp(family),
        Means::Udp(_) => Socket::udp(family),
    }
}

/// Who answers this socket at the Service's address, by which it must be shown.
fn ask(means: Means, socket: &Socket, family: Family) -> Result<u16, Errno> {
    let vip = WEB.seen_by(family);
    let (identity, peer) = match means {
        Means::Tcp => {
            socket.connect(vip)?;
            (socket.identity()?, socket.peer()?)
        }
        Means::Udp(way) => {
            let answer = socket.ask(way, b"who?", vip)?;
            (answer.identity, answer.source.map_or_else(|| socket.peer(), Ok)?)
        }
    };
    if peer == vip { Ok(identity) } else { Err(Errno::BADMSG) }
}

/// Sets what the calling thread's namespace does with an interface.
fn set(interface: &str, name: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"), value)
        .with_context(|| format!("cannot set net.ipv4.conf.{interface}.{name}"))
}

#[test]
fn point_25a_a_socket_stays_bound_to_its_device_whatever_backend_it_is_led_to() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 2)?;
        let [backend, another] = [&serving.pods[0], &serving.pods[1]];
        // The other Pod has the backend's address too, so that what is sent to it over the wrong link
        // is answered rather than lost. IPv6 takes no link that has no route there.
        let _servers = another.namespace().run(|| -> Result<_> {
            // New namespaces may have what the machine has: it would not say that it has an address of
            // another interface's, or not take what is for that.
            for interface in ["all", "eth0"] {
                set(interface, "arp_ignore", "0")?;
                set(interface, "rp_filter", "0")?;
            }
            lab.assign(backend.address())?;
            let address = backend.socket(PORT).into();
            Ok([Server::echo(address, ELSEWHERE)?, Server::answer(address, ELSEWHERE)?])
        })?;
        for interface in ["all", "pod1"] {
            set(interface, "rp_filter", "0")?;
        }
        let mut plane = Plane::on(lab)?;
        publish(&mut plane, serving.at(0))?;
        for &family in lab.families()? {
            let elsewhere =
                if family == Family::V6 { Err(Errno::NETUNREACH) } else { Ok(ELSEWHERE) };
            let cases = [(None, Ok(0)), (Some("pod0"), Ok(0)), (Some("pod1"), elsewhere)];
            for means in Means::KINDS {
                for (device, wanted) in cases {
                    let socket = socket(means, family)?;
                    SockRef::from(&socket).bind_device(device.map(str::as_bytes))?;
                    let got = ask(means, &socket, family);
                    assert_eq!(got, wanted, "{means:?}, {family:?}, bound to {device:?}");
                }
            }
        }
        Ok(())
    });
}

fn cgroup(lab: &Lab, name: &str) -> Result<PathBuf> {
    let cgroup = lab.cgroup().join(name);
    fs::create_dir(&cgroup)
        .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
    Ok(cgroup)
}

/// Moves this process there: sockets made from now on belong to it.
fn enter(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter the cgroup {}", cgroup.display()))
}

#[test]
fn point_25a_a_socket_belongs_to_the_cgroup_that_it_was_made_in_wherever_its_process_moves() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 1)?;
        let [served, bare] = [cgroup(lab, "served")?, cgroup(lab, "bare")?];
        let mut plane =
            Plane::with(&Settings::new(Sizes::new(256, 1024)), Configuration::default())?;
        plane.attach(&served)?;
        publish(&mut plane, serving.at(0))?;
        let make = || -> Result<Vec<_>> {
            let kinds = lab.families()?.iter();
            let kinds = kinds.flat_map(|&family| Means::KINDS.map(|means| (means, family)));
            kinds.map(|(means, family)| Ok((means, family, socket(means, family)?))).collect()
        };
        let expect = |sockets: &[(Means, Family, Socket)], wanted, what: &str| {
            for (means, family, socket) in sockets {
                let got = ask(*means, socket, *family);
                assert_eq!(got, wanted, "{means:?}, {family:?}, {what}");
            }
        };
        enter(&bare)?;
        let inherited = make()?;
        enter(&served)?;
        expect(&inherited, Err(Errno::NETUNREACH), "inherited");
        expect(&make()?, Ok(0), "new");
        let taken_along = make()?;
        enter(&bare)?;
        expect(&taken_along, Ok(0), "taken along");
        expect(&make()?, Err(Errno::NETUNREACH), "new, and not served");
        Ok(())
    });
}
