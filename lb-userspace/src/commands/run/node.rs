//! What the owner has done on the node: sockets closed, Pods left alone.
//!
//! It runs on the owner's thread, so nothing here may wait. What fails is logged or returned, and must
//! never end the agent.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use tracing::{error, info, warn};

use crate::{
    agent::Surroundings,
    chain::chain,
    cli::{CloseStale, Run},
    close::{Closer, Gone, Request},
    dataplane::{KernelConfig, Object, Origins, ServiceNetworks},
    metrics::Metrics,
    publish::StoreError,
};

/// The node, as far as the owner acts on it.
pub(super) struct Node {
    config: KernelConfig,
    closer: Option<Closer>,
    /// Whether TCP sockets are closed too.
    tcp: bool,
    /// Whether what no Service has is refused, in networks that the cluster names.
    refuse: bool,
}

impl Node {
    pub(super) fn new(config: KernelConfig, closer: Option<Closer>, options: &Run) -> Self {
        let refuse = options.refuse_unserved && options.service_cidr.is_empty();
        Self { config, closer, tcp: options.close_stale == CloseStale::All, refuse }
    }
}

/// Starts to close stale sockets, if that is asked for and possible.
pub(super) fn closer(
    object: &mut Object,
    stale: CloseStale,
    metrics: Metrics,
) -> Result<Option<Closer>> {
    let which = match stale {
        CloseStale::None => return Ok(None),
        CloseStale::Udp => Origins::Udp,
        CloseStale::All => Origins::All,
    };
    match object.origins(which) {
        Ok(origins) => {
            let closer = Closer::start(move || origins.read(), move |report| metrics.swept(report));
            Ok(Some(closer.context("cannot start the thread that closes stale sockets")?))
        }
        Err(error) => {
            // The verifier's log follows, which is for developers.
            let error = chain(&error);
            warn!(
                error = error.lines().next().unwrap_or_default(),
                "this kernel does not tell the sockets that were translated: --close-stale has no \
                 effect, and connected sockets stay with backends that are gone"
            );
            Ok(None)
        }
    }
}

impl Surroundings for Node {
    fn opt_out(&mut self, cookies: &BTreeSet<u64>) -> Result<(), StoreError> {
        self.config.opt_out(cookies)
    }

    fn stop_refusing(&mut self) {
        self.config.stop_refusing();
    }

    fn refuse_in(&mut self, networks: &[IpNet]) {
        if !self.refuse {
            return;
        }
        match ServiceNetworks::new(networks) {
            Ok(known) if !networks.is_empty() => {
                let networks = networks.iter().map(ToString::to_string).collect::<Vec<_>>();
                info!("refusing what no Service has in {}", networks.join(", "));
                self.config.refuse_in(&known);
            }
            Ok(_) => warn!(
                "the API server names no Service network (ServiceCIDR): nothing is refused. Name \
                 them with --service-cidr"
            ),
            Err(error) => error!(
                "nothing is refused, since the API server's Service networks cannot all be known: \
                 {error}. Name those that matter with --service-cidr"
            ),
        }
    }

    fn close(&mut self, gone: Vec<Gone>) {
        if let Some(closer) = &self.closer {
            closer.request(Request::Gone(gone));
        }
    }

    fn close_all_but(&mut self, serving: HashSet<(u32, SocketAddr)>, before: u32) {
        if let Some(closer) = &self.closer {
            closer.request(Request::AllBut { serving, before, tcp: self.tcp });
        }
    }
}
