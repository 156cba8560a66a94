//! What the owner has done on the node: sockets closed, Pods left alone.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
};

use tracing::{error, info, warn};

use crate::{
    agent::Surroundings,
    cli::CloseStale,
    close::{Closer, Gone, Request},
    dataplane::{KernelConfig, LoadError, Object, Origins},
};

/// The node, as far as the owner acts on it.
pub(super) struct Node {
    config: KernelConfig,
    closer: Option<Closer>,
    /// Whether TCP sockets are closed too.
    tcp: bool,
    /// Network namespaces that were left alone the last time.
    left_alone: usize,
}

impl Node {
    pub(super) fn new(config: KernelConfig, closer: Option<Closer>, stale: CloseStale) -> Self {
        Self { config, closer, tcp: stale == CloseStale::All, left_alone: 0 }
    }
}

/// Starts to close stale sockets, if that is asked for and possible.
pub(super) fn closer(object: &mut Object, stale: CloseStale) -> Result<Option<Closer>, LoadError> {
    let which = match stale {
        CloseStale::None => return Ok(None),
        CloseStale::Udp => Origins::Udp,
        CloseStale::All => Origins::All,
    };
    match object.origins(which) {
        Ok(origins) => Ok(Some(Closer::start(move || origins.read(), |_| ())?)),
        Err(error) => {
            warn!(
                error = %anyhow::Error::from(error),
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
            error!(
                "some Pods that opted out are balanced nevertheless: {:#}",
                anyhow::Error::from(error)
            );
        }
        if cookies.len() != self.left_alone {
            self.left_alone = cookies.len();
            info!(namespaces = cookies.len(), "network namespaces that opted out are left alone");
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
