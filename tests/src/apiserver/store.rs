//! The objects, their history, and who watches them. One lock holds all of it.
//!
//! Each change has a version of its own, counted over all resources, as etcd counts. Whoever is told of
//! a version has been told of all before it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    allocation::Allocation,
    object::{Key, Object},
    options::Options,
    resource::Resource,
    status::{self, Refusal},
    wire::Control,
};

/// An object came, changed or went.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    /// What it was.
    pub(super) before: Option<Arc<Object>>,
    /// What it is, or was when it went, with the version of that.
    pub(super) object: Arc<Object>,
    /// It is there afterwards.
    pub(super) stays: bool,
}

/// What a watch is handed.
#[derive(Debug)]
pub(super) enum Item {
    /// An object that is there when the watch begins.
    Present(Arc<Object>),
    /// An event.
    Change(Arc<Change>),
    /// Everything up to this version has been handed over.
    Bookmark(u64),
    /// The same, and with it all that was there in the beginning.
    Initial(u64),
    /// A line as it is, whatever it is.
    Line(Bytes),
    /// The answer ends in order.
    End,
}

/// An open watch.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: u64,
    pub(super) items: UnboundedSender<Item>,
    /// The connection that it runs over.
    pub(super) control: Arc<Control>,
}

/// One resource.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) objects: BTreeMap<Key, Arc<Object>>,
    /// In ascending order of versions.
    pub(super) history: VecDeque<Arc<Change>>,
    /// Changes up to this version are forgotten.
    pub(super) compacted: u64,
    pub(super) watchers: Vec<Watcher>,
}

/// Everything that is stored.
#[derive(Debug)]
pub(super) struct Store {
    /// The latest version.
    pub(super) version: u64,
    pub(super) room: Allocation,
    tables: [Table; Resource::ALL.len()],
    /// Changes of a resource that are remembered.
    limit: usize,
    next_watcher: u64,
}

impl Store {
    pub(super) fn new(options: &Options) -> Self {
        let mut tables: [Table; _] = Default::default();
        for table in &mut tables {
            table.compacted = options.first_version;
        }
        Self {
            version: options.first_version,
            room: Allocation::new(&options.service_cidrs),
            tables,
            limit: options.history,
            next_watcher: 0,
        }
    }

    pub(super) fn table(&self, resource: Resource) -> &Table {
        &self.tables[resource as usize]
    }

    pub(super) fn table_mut(&mut self, resource: Resource) -> &mut Table {
        &mut self.tables[resource as usize]
    }

    /// What is stored under the name.
    ///
    /// # Errors
    /// 404.
    pub(super) fn find(&self, resource: Resource, key: &Key) -> Result<&Arc<Object>, Refusal> {
        let found = self.table(resource).objects.get(key);
        found.ok_or_else(|| status::not_found(resource, &key.1))
    }

    /// The version of the next change.
    pub(super) fn next_version(&self) -> u64 {
        self.version + 1
    }

    /// Makes the next change: `object` has the next version.
    pub(super) fn put(&mut self, resource: Resource, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        let objects = &mut self.table_mut(resource).objects;
        let before = objects.insert(object.key(), Arc::clone(&object));
        self.record(resource, before, Arc::clone(&object), true);
        object
    }

    /// Makes the next change: what is stored under the name of `last` goes.
    pub(super) fn take(&mut self, resource: Resource, last: Object) -> Arc<Object> {
        let last = Arc::new(last);
        let before = self.table_mut(resource).objects.remove(&last.key());
        self.record(resource, before, Arc::clone(&last), false);
        last
    }

    fn record(
        &mut self,
        resource: Resource,
        before: Option<Arc<Object>>,
        object: Arc<Object>,
        stays: bool,
    ) {
        self.version = object.version;
        let limit = self.limit;
        let table = self.table_mut(resource);
        let change = Arc::new(Change { version: object.version, before, object, stays });
        table.hand(|| Item::Change(Arc::clone(&change)));
        table.history.push_back(change);
        while table.history.len() > limit {
            table.forget_oldest();
        }
    }

    /// Forgets the history of all resources: older watches and pages cannot go on.
    pub(super) fn compact(&mut self) {
        let version = self.version;
        for table in &mut self.tables {
            table.history.clear();
            table.compacted = version;
        }
    }

    /// Registers a watch, which is handed all changes from now on.
    pub(super) fn watch(
        &mut self,
        resource: Resource,
        items: UnboundedSender<Item>,
        control: Arc<Control>,
    ) -> u64 {
        let id = self.next_watcher;
        self.next_watcher += 1;
        self.table_mut(resource).watchers.push(Watcher { id, items, control });
        id
    }

    /// Hands one watch a bookmark, behind all changes so far.
    pub(super) fn bookmark(&mut self, resource: Resource, id: u64) {
        let version = self.version;
        if let Some(watcher) = self.table(resource).watchers.iter().find(|it| it.id == id) {
            // Its end is noticed elsewhere.
            let _ = watcher.items.send(Item::Bookmark(version));
        }
    }
}

impl Table {
    /// Hands every watch an item.
    pub(super) fn hand(&mut self, item: impl Fn() -> Item) {
        self.watchers.retain(|watcher| watcher.items.send(item()).is_ok());
    }

    fn forget_oldest(&mut self) {
        if let Some(change) = self.history.pop_front() {
            self.compacted = change.version;
        }
    }

    /// What changed after `version`.
    ///
    /// # Errors
    /// 410 if that is forgotten.
    pub(super) fn since(
        &self,
        version: u64,
    ) -> Result<impl Iterator<Item = &Arc<Change>>, Refusal> {
        if version < self.compacted {
            return Err(status::too_old(version, self.compacted));
        }
        let first = self.history.partition_point(|change| change.version <= version);
        Ok(self.history.range(first..))
    }
}
