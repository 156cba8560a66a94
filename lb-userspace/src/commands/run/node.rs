//! What the owner has done on the node: sockets closed, Pods left alone.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use tracing::{error, warn};

use crate::{
    agent::Surroundings,
    chain::chain,
    cli::CloseStale,
    close::{Closer, Gone, Request},
    dataplane::{KernelConfig, Object, Origins},
};

/// The node, as far as the owner acts on it.
pub(super) struct Node {
    config: KernelConfig,
    closer: Option<Closer>,
    /// Whether TCP sockets are closed too.
    tcp: bool,
}

impl Node {
    pub(super) fn new(config: KernelConfig, closer: Option<Closer>, stale: CloseStale) -> Self {
        Self { config, closer, tcp: stale == CloseStale::All }
    }
}

/// Starts to close stale sockets, if that is asked for and possible.
pub(super) fn closer(object: &mut Object, stale: CloseStale) -> Result<Option<Closer>> {
    let which = match stale {
        CloseStale::None => return Ok(None),
        CloseStale::Udp => Origins::Udp,
        CloseStale::All => Origins::All,
    };
    match object.origins(which) {
        Ok(origins) => {
            let closer = Closer::start(move || origins.read(), |_| ());
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
    fn opt_out(&mut self, cookies: &BTreeSet<u64>) {
        if let Err(error) = self.config.opt_out(cookies) {
            error!("some Pods that opted out are balanced nevertheless: {}", chain(&error));
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
