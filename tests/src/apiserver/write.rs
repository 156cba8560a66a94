//! Changes: create, replace, patch, delete, with what the server fills in and refuses.
//!
//! Whatever is refused leaves no trace.

use std::sync::Arc;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time},
    jiff::Timestamp,
};
use serde_json::Value;

use super::{
    kind::Kind,
    object::{Key, Object},
    patch,
    resource::Resource,
    status::{self, Cause, Refusal},
    store::Store,
};

/// What of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All but the status, as the resource itself does.
    Main,
    /// Nothing but the status, and labels and annotations, as `/status` does.
    Status,
    /// Everything, as only the lab itself can. It is a change even if nothing differs.
    Whole,
}

/// Creates an object in `namespace`, or in that which it names itself.
///
/// # Errors
/// 404 for its namespace, 409, 422, or 400 for contradictions.
pub(super) fn create<K: Kind>(
    store: &mut Store,
    namespace: Option<&str>,
    mut object: K,
    part: Part,
) -> Result<Arc<Object>, Refusal> {
    let key = place(store, namespace, &mut object)?;
    if store.table(K::RESOURCE).objects.contains_key(&key) {
        return Err(status::exists(K::RESOURCE, &key.1));
    }
    if part != Part::Whole {
        object.take_status(None);
    }
    let meta = object.meta_mut();
    if meta.resource_version.as_ref().is_some_and(|version| !version.is_empty()) {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(status::failure(500, "", message).into());
    }
    meta.uid = Some(uid());
    meta.creation_timestamp = Some(now());
    (meta.deletion_timestamp, meta.deletion_grace_period_seconds) = (None, None);
    (meta.generation, meta.self_link) = (None, None);
    object.fill(None, &mut store.room)?;
    let object = object_of(&mut object, store.next_version())?;
    Ok(store.put(K::RESOURCE, object))
}

/// Puts another version in the place of what is stored under `key`.
///
/// # Errors
/// 404, 409 for another version than that which `object` names, or 422.
pub(super) fn replace<K: Kind>(
    store: &mut Store,
    key: &Key,
    mut object: K,
    part: Part,
) -> Result<Arc<Object>, Refusal> {
    let current = Arc::clone(store.find(K::RESOURCE, key)?);
    precondition(&current, object.meta().resource_version.as_deref(), None, K::RESOURCE)?;
    match part {
        Part::Main => object.take_status(Some(&current.read())),
        Part::Status => {
            let mut whole: K = current.read();
            whole.take_status(Some(&object));
            let (meta, sent) = (whole.meta_mut(), object.meta());
            meta.labels.clone_from(&sent.labels);
            meta.annotations.clone_from(&sent.annotations);
            object = whole;
        }
        Part::Whole => {}
    }
    let meta = object.meta_mut();
    (meta.name, meta.namespace) = (Some(key.1.clone()), Some(key.0.clone()));
    meta.namespace.take_if(|namespace| namespace.is_empty());
    meta.uid = Some(current.uid.clone());
    meta.creation_timestamp.clone_from(&current.created);
    meta.deletion_timestamp.clone_from(&current.deleted);
    meta.generation = current.generation;
    object.fill(Some(&current), &mut store.room)?;
    if part != Part::Whole && is_same(&mut object, &current)? {
        return Ok(current);
    }
    let meta = object.meta();
    let released = meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds.unwrap_or_default() == 0
        && !object.is_held();
    let object = object_of(&mut object, store.next_version())?;
    if released {
        K::release(&object, &mut store.room);
        return Ok(store.take(K::RESOURCE, object));
    }
    Ok(store.put(K::RESOURCE, object))
}

/// Merges `patch` into what is stored under `key`.
///
/// # Errors
/// Those of [`replace`]; 400 or 422 for what is no such object then.
pub(super) fn merge<K: Kind>(
    store: &mut Store,
    key: &Key,
    patch: Value,
    part: Part,
) -> Result<Arc<Object>, Refusal> {
    let current = store.find(K::RESOURCE, key)?;
    let version = patch["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    let mut value = serde_json::from_slice(&current.json).expect("what was written can be read");
    patch::merge(&mut value, patch);
    let mut object: K = serde_json::from_value(value)
        .map_err(|error| status::bad_request(format!("error decoding patch: {error}")))?;
    object.meta_mut().resource_version = version;
    replace(store, key, object, part)
}

/// What became of a deleted object.
pub(super) enum Deleted {
    /// It is gone.
    Gone(Arc<Object>),
    /// It was asked to go, and is there still.
    Asked(Arc<Object>),
}

/// Deletes what is stored under `key`, or asks it to go while something holds it.
///
/// # Errors
/// 404, or 409 if the preconditions do not hold.
pub(super) fn delete<K: Kind>(
    store: &mut Store,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Deleted, Refusal> {
    let current = Arc::clone(store.find(K::RESOURCE, key)?);
    if let Some(wanted) = &options.preconditions {
        let (version, uid) = (wanted.resource_version.as_deref(), wanted.uid.as_deref());
        precondition(&current, version, uid, K::RESOURCE)?;
    }
    let mut object: K = current.read();
    let grace = options.grace_period_seconds.map_or(object.grace(), |it| it.min(object.grace()));
    if grace > 0 || object.is_held() {
        if current.deleted.is_some() && grace > 0 {
            return Ok(Deleted::Asked(current));
        }
        object.terminate();
        let meta = object.meta_mut();
        meta.deletion_timestamp.get_or_insert_with(now);
        meta.deletion_grace_period_seconds = Some(grace);
        let object = object_of(&mut object, store.next_version())?;
        return Ok(Deleted::Asked(store.put(K::RESOURCE, object)));
    }
    remove(store, key, object).map(Deleted::Gone)
}

/// Removes what is stored under `key`, whatever holds it. `object` is what it was.
///
/// # Errors
/// 500 if it cannot be written as JSON.
pub(super) fn remove<K: Kind>(
    store: &mut Store,
    key: &Key,
    mut object: K,
) -> Result<Arc<Object>, Refusal> {
    let last = object_of(&mut object, store.next_version())?;
    debug_assert_eq!(&last.key(), key);
    K::release(&last, &mut store.room);
    Ok(store.take(K::RESOURCE, last))
}

/// Where the object is to lie, whose metadata says so afterwards.
fn place<K: Kind>(store: &Store, namespace: Option<&str>, object: &mut K) -> Result<Key, Refusal> {
    let meta = object.meta_mut();
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let name = set(&meta.name).or_else(|| {
        let suffix = |prefix| {
            format!("{prefix}{}", (0..5).map(|_| fastrand::lowercase()).collect::<String>())
        };
        set(&meta.generate_name).map(suffix)
    });
    let name = name.ok_or_else(|| {
        let message = "Required value: name or generateName is required".into();
        let cause = Cause { field: "metadata.name", reason: "FieldValueRequired", message };
        status::invalid(&K::group(&()), &K::kind(&()), "", cause)
    })?;
    meta.name = Some(name.clone());
    if !K::RESOURCE.is_namespaced() {
        meta.namespace = None;
        return Ok((String::new(), name));
    }
    let own = set(&meta.namespace);
    if let (Some(namespace), Some(own)) = (namespace, &own)
        && namespace != own
    {
        return Err(status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let namespace = namespace.map(str::to_owned).or(own).unwrap_or_else(|| "default".into());
    store.find(Resource::Namespaces, &(String::new(), namespace.clone()))?;
    meta.namespace = Some(namespace.clone());
    Ok((namespace, name))
}

fn precondition(
    current: &Object,
    version: Option<&str>,
    uid: Option<&str>,
    resource: Resource,
) -> Result<(), Refusal> {
    if version.is_some_and(|it| !it.is_empty() && it != current.version.to_string()) {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        return Err(status::conflict(resource, &current.name, why));
    }
    if let Some(uid) = uid.filter(|&uid| uid != current.uid) {
        let why = format!("Precondition failed: UID in precondition: {uid}");
        return Err(status::conflict(resource, &current.name, &why));
    }
    Ok(())
}

/// Whether nothing differs but what the server itself counts.
fn is_same<K: Kind>(object: &mut K, current: &Object) -> Result<bool, Refusal> {
    let counted = object.meta().generation;
    object.meta_mut().generation = current.generation;
    let same = object_of(object, current.version)?.json == current.json;
    object.meta_mut().generation = counted;
    Ok(same)
}

fn object_of<K: Kind>(object: &mut K, version: u64) -> Result<Object, Refusal> {
    Object::new(object, version)
        .map_err(|error| status::failure(500, "InternalError", error.to_string()).into())
}

fn now() -> Time {
    Time(Timestamp::now())
}

/// A random UUID.
fn uid() -> String {
    let bits = fastrand::u128(..);
    let [a, b, c, d, e] = [bits >> 96, bits >> 80, bits >> 68, bits >> 50, bits];
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a & 0xffff_ffff,
        b & 0xffff,
        c & 0xfff,
        d & 0x3fff | 0x8000,
        e & 0xffff_ffff_ffff,
    )
}
