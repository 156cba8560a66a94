//! Lists: which objects, as of which version, in which pages.
//!
//! A page belongs to a version of everything. What has changed since is undone by the history, so a
//! token holds nothing but that version and a name, and is good for as long as the history reaches.
//! No list may mix versions: each of its pages is of the first one's.

use std::{borrow::Cow, collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;

use super::{
    object::{Data, Key, Object, data, plain},
    parameters::Parameters,
    resource::Resource,
    status::{self, Refusal},
    store::{Store, Table},
};

/// One page, or all there is.
#[derive(Debug)]
pub(super) struct Page {
    resource: Resource,
    version: u64,
    objects: Vec<Arc<Object>>,
    next: Option<String>,
    remaining: Option<usize>,
}

/// Makes a page.
///
/// # Errors
/// 400 for parameters that make no sense, 410 for versions that are forgotten, 504 for those that are
/// to come.
pub(super) fn page(
    store: &Store,
    resource: Resource,
    namespace: Option<&str>,
    parameters: &Parameters,
) -> Result<Page, Refusal> {
    let selection = parameters.selection(resource)?;
    let wanted = parameters.version()?;
    let matching = parameters.get("resourceVersionMatch");
    if matching.is_some() && wanted.is_none() {
        let message = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        return Err(parameters.forbidden("resourceVersionMatch", message));
    }
    // A list from the watch cache has no pages.
    let limit = parameters.number("limit")?.filter(|&limit| limit > 0 && wanted != Some(0));
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let token = parameters.get("continue").filter(|token| !token.is_empty());
    let exact = matching == Some("Exact") || (matching.is_none() && limit.is_some());
    let (version, after) = match (token, wanted) {
        (Some(_), Some(version)) if version > 0 => {
            let message = "specifying resource version is not allowed when using continue";
            return Err(status::bad_request(message));
        }
        (Some(token), _) => {
            let (version, after) =
                read(token).ok_or_else(|| status::bad_request("continue key is not valid"))?;
            (version, Some(after))
        }
        (None, Some(version)) if version > store.version => {
            return Err(status::too_large(version, store.version));
        }
        (None, Some(version)) if version > 0 && exact => (version, None),
        (None, _) => (store.version, None),
    };
    let forgotten = || match token {
        Some(_) => status::page_expired(),
        None => status::too_old(version, store.table(resource).compacted),
    };
    let objects = at(store.table(resource), version).ok_or_else(forgotten)?;
    let mut chosen = range(&objects, namespace, after.as_ref())
        .filter(|(_, object)| selection.takes(object))
        .map(|(_, object)| object);
    let Some(limit) = limit else {
        let objects = chosen.cloned().collect();
        return Ok(Page { resource, version, objects, next: None, remaining: None });
    };
    let objects: Vec<_> = chosen.by_ref().take(limit).cloned().collect();
    let remaining = chosen.count();
    let last = objects.last().filter(|_| remaining > 0);
    Ok(Page {
        resource,
        version,
        next: last.map(|object| format!("{version}.{}/{}", object.namespace, object.name)),
        remaining: Some(remaining).filter(|&left| left > 0 && selection.is_all()),
        objects,
    })
}

/// The objects of a version, `None` if that is forgotten.
fn at(table: &Table, version: u64) -> Option<Cow<'_, BTreeMap<Key, Arc<Object>>>> {
    let mut objects = Cow::Borrowed(&table.objects);
    if version < table.compacted {
        return None;
    }
    for change in table.history.iter().rev().take_while(|change| change.version > version) {
        let objects = objects.to_mut();
        match &change.before {
            Some(before) => objects.insert(before.key(), Arc::clone(before)),
            None => objects.remove(&change.object.key()),
        };
    }
    Some(objects)
}

/// What lies in the namespace, or everywhere, behind `after`.
pub(super) fn range<'a>(
    objects: &'a BTreeMap<Key, Arc<Object>>,
    namespace: Option<&'a str>,
    after: Option<&Key>,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    let first = || Bound::Included((namespace.unwrap_or_default().to_owned(), String::new()));
    let start = after.map_or_else(first, |after| Bound::Excluded(after.clone()));
    objects
        .range((start, Bound::Unbounded))
        .take_while(move |(key, _)| namespace.is_none_or(|namespace| key.0 == namespace))
}

fn read(token: &str) -> Option<(u64, Key)> {
    let (version, key) = token.split_once('.')?;
    let (namespace, name) = key.split_once('/')?;
    Some((version.parse().ok()?, (namespace.into(), name.into())))
}

impl Page {
    /// The answer, in pieces of which each object is one.
    pub(super) fn pieces(self) -> impl Iterator<Item = Data> + Send + 'static {
        let (kind, api_version) = (self.resource.kind(), self.resource.api_version());
        // Items of a list have neither, only objects alone and in events.
        let skipped = format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",").len();
        let mut head = format!(
            "{{\"kind\":\"{kind}List\",\"apiVersion\":\"{api_version}\",\
             \"metadata\":{{\"resourceVersion\":\"{}\"",
            self.version
        );
        if let Some(next) = &self.next {
            head += &format!(",\"continue\":\"{next}\"");
        }
        if let Some(remaining) = self.remaining {
            head += &format!(",\"remainingItemCount\":{remaining}");
        }
        head += "},\"items\":[";
        let openings = [&b"{"[..]].into_iter().chain(std::iter::repeat(&b",{"[..]));
        let objects = openings.zip(self.objects).map(move |(opening, object)| {
            data(Bytes::from_static(opening), object.json.slice(skipped..), Bytes::new())
        });
        [plain(head)].into_iter().chain(objects).chain([plain("]}\n")])
    }
}
