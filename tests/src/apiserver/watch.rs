//! Watches: what a client is told first, and then for as long as it listens.
//!
//! A watch is registered under the same lock under which its beginning is decided, so nothing falls
//! between the two. Events of one watch come in the order of versions; a bookmark takes its place among
//! them.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use hyper::body::Frame;
use serde_json::json;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    kind::{Kind, dispatch},
    list::range,
    object::{Data, Object, data, plain},
    parameters::Parameters,
    resource::Resource,
    selector::Selection,
    shared::Shared,
    status::Refusal,
    store::{Change, Item, Store},
    wire::Control,
};

/// Longer than any test.
const ENDLESS: Duration = Duration::from_hours(24);

/// An open watch.
pub(super) struct Watch {
    shared: Arc<Shared>,
    resource: Resource,
    namespace: Option<String>,
    selection: Selection,
    id: u64,
    /// What comes before anything that is handed over.
    pending: VecDeque<Item>,
    items: UnboundedReceiver<Item>,
    bookmarks: Option<Interval>,
    end: Instant,
}

/// Opens a watch.
///
/// # Errors
/// 400 and 422 for parameters that make no sense; 410, where it is not told by an event.
pub(super) fn open(
    shared: &Arc<Shared>,
    control: &Arc<Control>,
    resource: Resource,
    namespace: Option<String>,
    parameters: &Parameters,
) -> Result<Watch, Refusal> {
    let selection = parameters.selection(resource)?;
    let seconds = parameters.number("timeoutSeconds")?.filter(|&seconds| seconds > 0);
    let period = shared.options.bookmarks;
    let bookmarks = parameters.is_set("allowWatchBookmarks").then(|| {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let streaming = streaming(shared, parameters)?;
    let from = parameters.version()?.filter(|&version| version > 0);
    let (sender, items) = unbounded_channel();
    let mut store = shared.store();
    let pending = if streaming == Some(true) || (from.is_none() && streaming.is_none()) {
        let present = range(&store.table(resource).objects, namespace.as_deref(), None);
        let mut pending: VecDeque<_> = present
            .filter(|(_, object)| selection.takes(object))
            .map(|(_, object)| Item::Present(Arc::clone(object)))
            .collect();
        if streaming.is_some() && bookmarks.is_some() {
            pending.push_back(Item::Initial(store.version));
        }
        pending
    } else {
        // A version that is still to come is no error: nothing is told before it.
        let from = from.unwrap_or(store.version);
        match since(&store, resource, from) {
            Ok(pending) => pending,
            Err(refusal) if shared.options.gone_by_http => return Err(refusal),
            Err(refusal) => [Item::Line(error_line(&refusal)), Item::End].into(),
        }
    };
    let id = store.watch(resource, sender, Arc::clone(control));
    drop(store);
    Ok(Watch {
        shared: Arc::clone(shared),
        resource,
        namespace,
        selection,
        id,
        pending,
        items,
        bookmarks,
        end: Instant::now() + seconds.map_or(ENDLESS, Duration::from_secs),
    })
}

/// What `sendInitialEvents` says, if it says something.
fn streaming(shared: &Shared, parameters: &Parameters) -> Result<Option<bool>, Refusal> {
    let matching = parameters.get("resourceVersionMatch");
    let Some(wanted) = parameters.get("sendInitialEvents") else {
        if matching.is_some() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
                       provided";
            return Err(parameters.forbidden("resourceVersionMatch", why));
        }
        return Ok(None);
    };
    if !shared.options.streaming_lists {
        let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is \
                   enabled";
        return Err(parameters.forbidden("sendInitialEvents", why));
    }
    if matching != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(parameters.forbidden("resourceVersionMatch", why));
    }
    Ok(Some(matches!(wanted, "true" | "1")))
}

fn since(store: &Store, resource: Resource, from: u64) -> Result<VecDeque<Item>, Refusal> {
    let changes = store.table(resource).since(from)?;
    Ok(changes.map(|change| Item::Change(Arc::clone(change))).collect())
}

impl Watch {
    /// The lines of the answer, one a frame.
    pub(super) fn frames(self) -> impl Stream<Item = io::Result<Frame<Data>>> + Send {
        stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok(Frame::data(line)), watch))
        })
    }

    /// The next line, `None` at the end.
    async fn next(&mut self) -> Option<Data> {
        loop {
            let item = match self.pending.pop_front() {
                Some(item) => item,
                None => self.receive().await?,
            };
            match item {
                Item::Present(object) => return Some(event("ADDED", &object)),
                Item::Change(change) => {
                    if let Some(line) = self.line(&change) {
                        return Some(line);
                    }
                }
                Item::Bookmark(version) => return Some(self.bookmark(version, false)),
                Item::Initial(version) => return Some(self.bookmark(version, true)),
                Item::Line(line) => return Some(plain(line)),
                Item::End => return None,
            }
        }
    }

    async fn receive(&mut self) -> Option<Item> {
        loop {
            let tick = async {
                match &mut self.bookmarks {
                    Some(bookmarks) => bookmarks.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(self.end) => return None,
                _ = tick => self.shared.store().bookmark(self.resource, self.id),
                item = self.items.recv() => return item,
            }
        }
    }

    /// What the change is to this watch, if it is anything.
    fn line(&self, change: &Change) -> Option<Data> {
        let Change { version, before, object, stays } = change;
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != object.namespace) {
            return None;
        }
        let before = before.as_ref().filter(|before| self.selection.takes(before));
        match (before, *stays && self.selection.takes(object)) {
            (None, true) => Some(event("ADDED", object)),
            (Some(_), true) => Some(event("MODIFIED", object)),
            (Some(_), false) if !stays => Some(event("DELETED", object)),
            // It left the selection: what was seen of it last, with the version of that.
            (Some(before), false) => {
                Some(event("DELETED", &renewed(self.resource, before, *version)))
            }
            (None, false) => None,
        }
    }

    fn bookmark(&self, version: u64, initial: bool) -> Data {
        let annotations =
            if initial { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
        plain(format!(
            "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\
             \"metadata\":{{\"resourceVersion\":\"{version}\",\"creationTimestamp\":null\
             {annotations}}}{}}}}}\n",
            self.resource.kind(),
            self.resource.api_version(),
            dispatch!(self.resource, K => K::EMPTY),
        ))
    }
}

fn event(kind: &'static str, object: &Object) -> Data {
    let opening: &[u8] = match kind {
        "ADDED" => b"{\"type\":\"ADDED\",\"object\":",
        "MODIFIED" => b"{\"type\":\"MODIFIED\",\"object\":",
        _ => b"{\"type\":\"DELETED\",\"object\":",
    };
    data(Bytes::from_static(opening), object.json.clone(), Bytes::from_static(b"}\n"))
}

fn renewed(resource: Resource, object: &Object, version: u64) -> Object {
    dispatch!(resource, K => {
        let mut typed: K = object.read();
        Object::new(&mut typed, version).expect("what was written can be written again")
    })
}

/// An event that says why the watch ends.
pub(super) fn error_line(refusal: &Refusal) -> Bytes {
    format!("{}\n", json!({"type": "ERROR", "object": refusal})).into()
}
