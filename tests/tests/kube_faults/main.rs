//! The agent against an API server that fails in every way that one can. Numbers in names are those of
//! docs/semantics.md.
#![forbid(unsafe_code)]

mod answers;
mod connections;
mod lists;

use std::{io::ErrorKind, net::SocketAddrV4, path::Path, time::Duration};

use anyhow::Result;
use lab::{
    Lab,
    apiserver::{ApiServer, Double, Options, Resource, Verb},
    client::{TIMEOUT, connect},
    cluster::Cluster,
    manifest,
    serving::{PORT, Serving},
    stage::eventually,
};

const WEB: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 96, 0, 10), 80);
const MORE: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 96, 0, 11), 80);

/// Two Pods, and a cluster in which the Service `web` leads to the first.
struct Scene<'lab> {
    cluster: Cluster<'lab>,
    serving: Serving,
}

impl<'lab> Scene<'lab> {
    fn new(lab: &'lab Lab, differ: impl FnOnce(&mut Options)) -> Result<Self> {
        let mut options = Options { bookmarks: Duration::from_millis(500), ..Options::default() };
        differ(&mut options);
        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let scene = {
            let server = ApiServer::Double(Double::start(options)?.into());
            Self { cluster: Cluster::new(lab, guard, server)?, serving: Serving::start(lab, 2)? }
        };
        scene.lead("web", WEB, 0)?;
        Ok(scene)
    }

    fn server(&self) -> &Double {
        self.cluster.double()
    }

    /// Stores a Service that leads to one of the Pods.
    fn lead(&self, name: &str, vip: SocketAddrV4, pod: usize) -> Result<()> {
        let pod = self.serving.pods[pod].socket(PORT);
        self.cluster.apply(&manifest::Service::tcp(name, vip).to([pod]))
    }

    /// Waits until the Service leads to this Pod.
    fn until(&self, vip: SocketAddrV4, pod: u16) -> Result<()> {
        eventually(&format!("{vip} leads to Pod {pod}"), || Ok(reached(vip) == Some(pod)))
    }

    /// Waits until the address is no Service's.
    fn until_gone(&self, vip: SocketAddrV4) -> Result<()> {
        eventually(&format!("{vip} is gone"), || {
            Ok(connect(vip, TIMEOUT)
                .is_err_and(|error| error.kind() == ErrorKind::NetworkUnreachable))
        })
    }

    /// How often a resource was listed, in either way.
    fn lists(&self, resource: Resource) -> usize {
        self.server()
            .asked()
            .iter()
            .filter(|asked| {
                let streamed = asked.parameters.get("sendInitialEvents") == Some("true");
                let first_page = asked.parameters.get("continue").is_none();
                asked.resource == resource && (streamed || asked.verb == Verb::List && first_page)
            })
            .count()
    }
}

fn reached(vip: SocketAddrV4) -> Option<u16> {
    connect(vip, TIMEOUT).ok()?.identity().ok()
}
