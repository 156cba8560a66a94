//! Pods that serve one port over TCP and UDP, each of which says its own index.
//!
//! No two may say the same: it is all that a test knows them by.

use anyhow::Result;

use crate::{Lab, family::Dual, pod::Pod, server::Server};

/// The port that they serve.
pub const PORT: u16 = 8080;

/// Serves until dropped.
#[derive(Debug)]
pub struct Serving {
    /// The Pods, in the order of what they say.
    pub pods: Vec<Pod>,
    tcp: Vec<Server>,
    udp: Vec<Server>,
}

impl Serving {
    /// Makes so many Pods, which say 0, 1, 2 and so on.
    ///
    /// # Errors
    /// When there are Pods with these indices already.
    pub fn start(lab: &Lab, count: u8) -> Result<Self> {
        let pods: Vec<_> = (0..count).map(|index| lab.pod(index)).collect::<Result<_>>()?;
        let tcp = (0..).zip(&pods).map(|(id, pod)| pod.serve_echo([(PORT, id)]));
        let tcp = tcp.collect::<Result<_>>()?;
        let udp = (0..).zip(&pods).map(|(id, pod)| pod.serve_udp([(PORT, id)]));
        let udp = udp.collect::<Result<_>>()?;
        Ok(Self { pods, tcp, udp })
    }

    /// Where one of them serves.
    pub fn at(&self, index: usize) -> Dual {
        self.pods[index].dual(PORT)
    }

    /// Where each of them serves.
    pub fn everywhere(&self) -> Vec<Dual> {
        (0..self.pods.len()).map(|index| self.at(index)).collect()
    }

    /// Connections that each has accepted.
    pub fn accepted(&self) -> Vec<u64> {
        self.tcp.iter().flat_map(Server::accepted).collect()
    }

    /// Datagrams that each has taken.
    pub fn taken(&self) -> Vec<u64> {
        self.udp.iter().flat_map(Server::accepted).collect()
    }
}
