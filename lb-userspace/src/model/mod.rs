//! Which frontends exist and which backends each has: all Service semantics.
//!
//! [`Model`] takes a source's events one by one and tells what changed. It is synchronous and
//! pure: it must never read a clock, a file or the network, log, or know where events come from.
//!
//! Only what counts is kept of an object: 12 bytes an IPv4 endpoint and 6 in each set of backends
//! that it is in. An event costs time in proportion to the Services that it touches.

mod address;
mod api_server;
mod apply;
mod backends;
mod claims;
mod eligible;
mod endpoint;
mod entry;
mod family;
mod frontend;
mod labels;
mod node;
mod notice;
mod options;
mod service;
mod settle;
mod slice;
#[cfg(test)]
mod tests;
mod uses;
mod wants;

use std::{net::SocketAddr, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

pub(crate) use self::slice::service_of;
pub use self::{
    backends::{Address6, Backends},
    frontend::{
        Changes, Frontend, FrontendChange, FrontendKey, FrontendKind, Protocol, Retired, Target,
    },
    notice::Notice,
    options::{Options, Tracked},
};
use self::{claims::Claims, entry::Entry, node::Node, service::service_of_port, uses::Uses};

/// The state of all Services, as seen from one node.
#[derive(Debug)]
pub struct Model {
    node: Node,
    synced: bool,
    services: FxHashMap<Arc<str>, Entry>,
    /// The Service of each slice, both as `namespace/name`.
    owners: FxHashMap<Arc<str>, Arc<str>>,
    claims: Claims,
    uses: Uses,
    /// Services that may differ from what the caller was last told.
    touched: FxHashSet<Arc<str>>,
    /// Frontends that a Service wants no more, which may differ too.
    unclaimed: FxHashSet<FrontendKey>,
    notices: Vec<Notice>,
}

impl Model {
    /// An empty model.
    pub fn new(options: Options) -> Self {
        Self {
            node: Node::new(options),
            synced: false,
            services: FxHashMap::default(),
            owners: FxHashMap::default(),
            claims: Claims::default(),
            uses: Uses::default(),
            touched: FxHashSet::default(),
            unclaimed: FxHashSet::default(),
            notices: Vec::new(),
        }
    }

    /// Every backend that serves a port of a protocol that [`Options::track`] names, as of the last
    /// [`Self::take_changes`], with the port's name as in [`Frontend::name`]. After a start, sockets
    /// that an agent before sent elsewhere are sockets whose backend stopped serving meanwhile.
    pub fn serving(&self) -> impl Iterator<Item = (Arc<str>, SocketAddr)> + '_ {
        self.services.values().flat_map(Entry::serving)
    }

    /// Whether [`Self::serving`] has this one.
    pub fn serves(&self, port: &str, backend: SocketAddr) -> bool {
        let entry = service_of_port(port).and_then(|service| self.services.get(service));
        entry.is_some_and(|entry| entry.serves(port, backend))
    }
}

/// Those of `now` that did not hold before.
fn news(before: Option<&[Notice]>, now: &[Notice]) -> impl Iterator<Item = Notice> {
    let before = before.unwrap_or_default();
    now.iter().filter(|notice| !before.contains(notice)).cloned()
}
