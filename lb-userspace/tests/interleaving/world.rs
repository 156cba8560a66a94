//! What every scenario is made of: the publisher at work, readers that connect, and the rule that
//! says which backends a connect may get.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use lb_common::{Backend4, FrontendKey4, Selection, V4, select};
use lb_userspace::{
    model::{Backends, Frontend, FrontendChange, FrontendKey, FrontendKind, Protocol, Target},
    publish::{Ids, Publisher, Sizes, Wire as _},
};
use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread::JoinHandle,
};

use crate::{
    rcu::LoomGrace,
    tables::{Defences, LoomStore, LoomTables},
};

/// The frontend that readers connect to.
pub(crate) const OURS: FrontendKey = key(1);
/// Another one.
pub(crate) const OTHER: FrontendKey = key(2);

const fn key(number: u8) -> FrontendKey {
    let address = IpAddr::V4(Ipv4Addr::new(10, 96, 0, number));
    FrontendKey { address, port: 80, protocol: Protocol::Tcp }
}

/// What `OURS` is between two publications: the numbers of its backends, none if it is no frontend.
pub(crate) type State = &'static [u8];

/// A backend, by its number. Scenarios number backends from 1 in the order in which they are
/// published, as the publisher does with ids, so that the number is the id too.
pub(crate) fn backend(number: u8) -> Backend4 {
    let (address, port) = ([10, 0, 0, number], 8000 + u16::from(number));
    Backend4 { address, port, flags: 0, id: number.into(), reserved: 0 }
}

/// A frontend gets these backends, as the Service of this name.
pub(crate) fn set(key: FrontendKey, name: &str, backends: &[u8]) -> FrontendChange {
    let backends = backends
        .iter()
        .map(|number| backend(*number))
        .map(|backend| SocketAddrV4::new(backend.address.into(), backend.port))
        .collect();
    let state = Frontend {
        name: name.into(),
        kind: FrontendKind::ClusterIp,
        affinity: 0,
        host_only: false,
        target: Target::Balance(Arc::new(Backends::V4(backends))),
    };
    FrontendChange { key, state: Some(state) }
}

/// A frontend goes.
pub(crate) fn remove(key: FrontendKey) -> FrontendChange {
    FrontendChange { key, state: None }
}

/// Fails unless a connect may end so in one of these states. A backend counts as one only whole:
/// both words of its entry written, and of the same backend.
pub(crate) fn check(selection: Selection<Backend4>, allowed: &[State]) {
    let fits = |state: &State| match selection {
        Selection::NotAFrontend | Selection::Unsettled => state.is_empty(),
        Selection::Backend(found) => state.iter().any(|number| found.backend == backend(*number)),
        Selection::NoBackend | Selection::Unserved | Selection::Corrupt => false,
    };
    assert!(allowed.iter().any(fits), "{selection:?} was in none of {allowed:?}");
}

/// Tables and their writer.
pub(crate) struct World {
    tables: Arc<LoomTables>,
    publisher: Publisher<LoomStore, LoomGrace>,
    /// How many publications have ended for certain.
    ended: Arc<AtomicUsize>,
}

impl World {
    /// Empty tables with one hash element.
    pub(crate) fn new(services: u32, backends: u32, readers: usize, defences: Defences) -> Self {
        Self::sized(Sizes { frontends: 1, services, backends }, readers, defences)
    }

    /// Empty tables of these sizes.
    pub(crate) fn sized(sizes: Sizes, readers: usize, defences: Defences) -> Self {
        let tables = Arc::new(LoomTables::new(sizes, readers, defences));
        let (store, grace) = (LoomStore::new(tables.clone()), LoomGrace::new(tables.clone()));
        let publisher = Publisher::new(store, grace, sizes, Ids::default());
        Self { tables, publisher, ended: Arc::new(AtomicUsize::new(0)) }
    }

    /// Publishes a change.
    pub(crate) fn apply(&mut self, change: FrontendChange) {
        assert!(self.publisher.apply([change]).unwrap().is_empty());
        let published = self.publisher.stats().publishes as usize;
        self.ended.store(published, Ordering::Release);
    }

    /// Lets the publisher do what is possible without waiting.
    pub(crate) fn maintain(&mut self, upkeep: bool) {
        assert!(self.publisher.maintain(upkeep).unwrap().is_empty());
    }

    /// Lets the publisher wait until there is nothing left to do.
    pub(crate) fn settle(&mut self) {
        assert!(self.publisher.settle().unwrap().is_empty());
    }

    /// What a connect finds when nothing else runs.
    pub(crate) fn select(&self, key: &FrontendKey) -> Selection<Backend4> {
        choose(&self.tables, &V4::key(key))
    }

    /// A reader that connects to `OURS`. It must find a state that was in force between its start
    /// and its end; `states` has one for each publication.
    pub(crate) fn reader(&self, reader: usize, states: &'static [State]) -> JoinHandle<()> {
        let (tables, ended) = (self.tables.clone(), self.ended.clone());
        loom::thread::spawn(move || connect(&tables, reader, &ended, states))
    }

    /// The same after a section of no interest, which may keep a grace period under way that does
    /// not wait for the connect.
    pub(crate) fn late_reader(&self, reader: usize, states: &'static [State]) -> JoinHandle<()> {
        let (tables, ended) = (self.tables.clone(), self.ended.clone());
        loom::thread::spawn(move || {
            tables.readers[reader].enter(|| ());
            connect(&tables, reader, &ended, states);
        })
    }
}

fn connect(tables: &LoomTables, reader: usize, ended: &AtomicUsize, states: &[State]) {
    let first = ended.load(Ordering::Acquire) - 1;
    let selection = tables.readers[reader].enter(|| choose(tables, &V4::key(&OURS)));
    let begun = tables.published();
    check(selection, states.get(first..begun).expect("a state for each publication"));
}

/// What the BPF program decides.
pub(crate) fn choose(tables: &LoomTables, key: &FrontendKey4) -> Selection<Backend4> {
    select::<V4, _, _>(tables, tables, key, None)
}
