//! TCP connections whose backend goes, where the agent is asked to close them (`--close-stale all`).
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::Result;
use lab::{
    Lab,
    closing::{expect_echo, expect_unharmed, settle, wait_until_closed},
    exchange::Means,
    family::{Dual, Family},
    manifest::Service,
    pod::Pod,
    requirement::Need,
    server::Server,
    socket::Socket,
    stage::Stage,
};

const ECHO: Dual = Dual::cluster_ip(12, 7);
/// Another Service's.
const OTHER: Dual = Dual::cluster_ip(11, 7);
/// Where the Pods' servers listen.
const PORT: u16 = 5353;
const LEAVING: u16 = 1;
const STAYING: u16 = 2;
const ALL: [&str; 2] = ["--close-stale", "all"];

/// Two Pods that echo, one that is a client, and what is connected to the first.
struct Scene<'lab> {
    lab: &'lab Lab,
    stage: Stage<'lab>,
    leaving: Pod,
    staying: Pod,
    client: Pod,
    _servers: [Server; 2],
}

/// Sockets, each with what it is.
type Sockets = Vec<(String, Socket)>;

impl<'lab> Scene<'lab> {
    fn new(lab: &'lab Lab) -> Result<Self> {
        let [leaving, staying, client] = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let servers =
            [leaving.serve_echo([(PORT, LEAVING)])?, staying.serve_echo([(PORT, STAYING)])?];
        let stage = Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))?;
        stage.apply(&Service::tcp("other", OTHER).to([leaving.dual(PORT)]))?;
        let scene = Self { lab, stage, leaving, staying, client, _servers: servers };
        scene.lead_to(&scene.leaving)?;
        Ok(scene)
    }

    /// Gives the Service this backend alone.
    fn lead_to(&self, pod: &Pod) -> Result<()> {
        self.stage.apply(&Service::tcp("echo", ECHO).to([pod.dual(PORT)]))
    }

    /// Connections that are to be closed when the Service leaves its backend, and those that are not,
    /// of each family, from the node and from a Pod.
    fn connect(&self) -> Result<[Sockets; 2]> {
        let (mut stale, mut others) = (Vec::new(), Vec::new());
        for &family in self.lab.families()? {
            let here = || -> Result<_> {
                let moved = Socket::tcp(family)?;
                moved.connect(ECHO.seen_by(family))?;
                moved.disconnect()?;
                let pod = self.leaving.dual(PORT);
                Ok((
                    connected(Socket::tcp(family)?, family, ECHO)?,
                    [
                        ("direct", connected(Socket::tcp(family)?, family, pod)?),
                        ("moved", connected(moved, family, pod)?),
                        ("another Service's", connected(Socket::tcp(family)?, family, OTHER)?),
                    ],
                ))
            };
            for (place, (socket, rest)) in
                [("the node", here()?), ("a Pod", self.client.namespace().run(here)?)]
            {
                stale.push((format!("{family:?} in {place}"), socket));
                others.extend(
                    rest.map(|(what, socket)| (format!("{family:?} in {place}, {what}"), socket)),
                );
            }
        }
        Ok([stale, others])
    }

    /// Waits until the stale ones are closed, and fails if others are.
    fn expect_closed(&self, [stale, others]: &[Sockets; 2]) -> Result<()> {
        stale.iter().try_for_each(|(what, socket)| wait_until_closed(socket, what))?;
        settle(&self.stage, &self.staying)?;
        expect_open(others)
    }
}

/// The socket, connected there, which must lead to the Pod that is to leave.
fn connected(socket: Socket, family: Family, to: Dual) -> Result<Socket> {
    socket.connect(to.seen_by(family))?;
    assert_eq!(socket.identity(), Ok(LEAVING), "{family:?}, {to:?}");
    Ok(socket)
}

fn expect_open(sockets: &Sockets) -> Result<()> {
    sockets.iter().try_for_each(|(what, socket)| {
        expect_unharmed(socket, what)?;
        expect_echo(socket, what)
    })
}

#[test]
fn point_23_connections_of_all_families_are_closed_when_their_backend_leaves_if_asked_for() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let scene = Scene::new(lab)?;
        let _agent = scene.stage.start(&ALL)?;
        let sockets = scene.connect()?;
        scene.lead_to(&scene.staying)?;
        scene.expect_closed(&sockets)?;
        for &family in lab.families()? {
            let met = Means::Tcp.ask(family, ECHO.seen_by(family))?;
            assert_eq!(met.identity, STAYING, "{family:?}");
        }
        Ok(())
    });
}

#[test]
fn point_23_and_27_connections_whose_backend_left_while_no_agent_ran_are_closed_by_the_next() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let scene = Scene::new(lab)?;
        let agent = scene.stage.start(&ALL)?;
        let sockets = scene.connect()?;
        agent.stop()?;
        let agent = scene.stage.start(&ALL)?;
        // Nothing has changed, so nothing is closed.
        settle(&scene.stage, &scene.staying)?;
        sockets.iter().try_for_each(expect_open)?;
        agent.kill()?;
        scene.lead_to(&scene.staying)?;
        let _agent = scene.stage.start(&ALL)?;
        scene.expect_closed(&sockets)
    });
}
