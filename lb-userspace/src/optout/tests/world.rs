//! A node to search, and what is handed out of it.
//!
//! Nothing here may say what is right: the tests do.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use super::*;

const AT_MOST: Duration = Duration::from_secs(20);

/// A node on which addresses are where a test has put them.
#[derive(Default)]
pub(super) struct Node {
    cookies: BTreeMap<IpAddr, BTreeSet<u64>>,
    /// Searches that are to fail.
    pub(super) failures: usize,
    pub(super) old: bool,
    searches: usize,
}

struct Fake(Arc<Mutex<Node>>);

impl Find for Fake {
    fn find(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<Found, FindError> {
        assert!(!wanted.is_empty(), "nobody opts out");
        let mut node = self.0.lock().unwrap();
        node.searches += 1;
        if node.old {
            return Err(FindError::NoCookies);
        }
        if node.failures > 0 {
            node.failures -= 1;
            let source = io::ErrorKind::OutOfMemory.into();
            return Err(FindError::Addresses { inode: 1, source });
        }
        let cookies = node.cookies.iter().filter(|(address, _)| wanted.contains(address));
        Ok(Found { cookies: cookies.map(|(a, c)| (*a, c.clone())).collect(), denied: 0 })
    }
}

pub(super) struct World {
    pub(super) node: Arc<Mutex<Node>>,
    pub(super) opt_outs: OptOuts,
    sets: Receiver<BTreeSet<u64>>,
}

impl World {
    pub(super) fn new() -> Self {
        let node = Arc::<Mutex<Node>>::default();
        let (sender, sets) = channel();
        let out = move |cookies: &BTreeSet<u64>| {
            // Nobody listens any more at the end of a test.
            let _ = sender.send(cookies.clone());
        };
        let opt_outs = OptOuts::start(Rules::default(), Fake(node.clone()), out).unwrap();
        Self { node, opt_outs, sets }
    }

    pub(super) fn put(&self, address: &str, cookies: &[u64]) {
        let address = address.parse().unwrap();
        self.node.lock().unwrap().cookies.insert(address, cookies.iter().copied().collect());
    }

    /// No search sees who has this address any more.
    pub(super) fn hide(&self, address: &str) {
        self.node.lock().unwrap().cookies.remove(&address.parse().unwrap());
    }

    pub(super) fn apply(&self, object: Object) {
        assert!(self.opt_outs.take(Event::Apply(object)).is_none());
    }

    pub(super) fn delete(&self, kind: Kind, namespace: &str, name: &str) {
        assert!(self.opt_outs.take(Event::Delete(key(kind, namespace, name))).is_none());
    }

    /// Waits until all that was told has been looked for.
    pub(super) fn settle(&self) {
        assert!(matches!(self.opt_outs.take(Event::Synced), Some(Event::Synced)));
    }

    pub(super) fn next(&self) -> Vec<u64> {
        self.sets.recv_timeout(AT_MOST).expect("a set").into_iter().collect()
    }

    /// What was handed out meanwhile.
    pub(super) fn all(&self) -> Vec<Vec<u64>> {
        self.sets.try_iter().map(|set| set.into_iter().collect()).collect()
    }

    pub(super) fn searches(&self) -> usize {
        self.node.lock().unwrap().searches
    }
}
