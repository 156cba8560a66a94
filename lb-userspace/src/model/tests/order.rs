//! Point 29: whatever the order of creates, updates and deletes, the end is the same as when the
//! objects that are left had been there from the start.

mod any;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, BuildHasherDefault},
};

use proptest::prelude::*;
use rustc_hash::FxHasher;

use self::any::{PROTECTED, Step, any_options, any_step};
use super::*;

fn key_of(event: &Event) -> (Option<Kind>, String) {
    let (kind, name) = match event {
        Event::Apply(Object::Service(object)) => (Kind::Service, &object.metadata.name),
        Event::Apply(Object::EndpointSlice(object)) => (Kind::EndpointSlice, &object.metadata.name),
        Event::Apply(Object::Node(object)) => (Kind::Node, &object.metadata.name),
        Event::LocalAddresses(_) => return (None, String::new()),
        other => panic!("{other:?} leaves nothing"),
    };
    (Some(kind), name.clone().expect("a name"))
}

/// What holds for every frontend, whatever the objects.
fn check(key: &FrontendKey, frontend: &Frontend) {
    assert_eq!(frontend.kind == FrontendKind::Known, key.port == 0, "{key}");
    assert_eq!(frontend.host_only, key.address.is_loopback(), "{key}");
    if is_named(frontend) {
        assert_ne!(key.address.to_string(), PROTECTED);
    }
    if let Target::Balance(backends) = &frontend.target {
        assert!(backends.iter().is_sorted_by(|a, b| a < b), "{key}");
        assert_eq!(matches!(**backends, Backends::V4(_)), key.address.is_ipv4(), "{key}");
    }
}

/// The same state, but for what point 28 lets an older model know beside: where the API server's
/// Service has nothing, its last backends, which nobody may take over.
fn compare(caller: &Caller, fresh: &Caller) {
    let addresses = |caller: &Caller| caller.known.keys().copied().collect::<BTreeSet<_>>();
    let remembered: BTreeSet<_> = caller
        .model
        .node
        .api_server()
        .difference(&fresh.model.node.api_server())
        .copied()
        .collect();
    let is_api = |frontend: &Frontend| frontend.name.starts_with("default/kubernetes:");
    for key in addresses(caller).union(&addresses(fresh)) {
        let (now, new) = (caller.known.get(key), fresh.known.get(key));
        match (now, new) {
            (Some(now), Some(new)) if is_api(new) && empty(new) && !empty(now) => {
                assert_eq!(Frontend { target: new.target.clone(), ..now.clone() }, *new, "{key}");
                let known =
                    |backend: SocketAddr| caller.model.node.api_server().contains(&backend.ip());
                assert!(set(now).iter().all(known), "{key}");
            }
            _ if remembered.contains(&key.address) => {
                assert!(now.is_none_or(|now| !is_named(now)), "{key}: {now:?}");
                assert!(new.is_none_or(is_named) || now == new, "{key}: {now:?}, {new:?}");
            }
            _ => assert_eq!(now, new, "{key}"),
        }
    }
    let mut more = caller.serving.difference(&fresh.serving);
    assert!(more.all(|(name, backend)| {
        name.starts_with("default/kubernetes:")
            && caller.model.node.api_server().contains(&backend.ip())
    }));
    assert!(caller.serving.is_superset(&fresh.serving));
}

fn empty(frontend: &Frontend) -> bool {
    matches!(&frontend.target, Target::Balance(backends) if backends.is_empty())
}

fn is_named(frontend: &Frontend) -> bool {
    matches!(frontend.kind, FrontendKind::ExternalIp | FrontendKind::LoadBalancer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn point_29_any_order_ends_in_the_state_of_the_final_objects(
        options in any_options(),
        steps in prop::collection::vec(any_step(), 0..40),
        order in any::<u64>(),
    ) {
        let mut objects = BTreeMap::new();
        let mut caller = Caller::with_options(options.clone(), []);
        for step in steps {
            match step {
                Step::Apply(event) => {
                    objects.insert(key_of(&event), event.clone());
                    caller.model.apply(event);
                }
                Step::Delete(kind, name) => {
                    objects.remove(&(Some(kind), name.to_owned()));
                    caller.model.apply(delete(kind, name));
                }
                Step::DeleteDefault(kind, name) => {
                    objects.remove(&(Some(kind), name.to_owned()));
                    caller.model.apply(delete_in("default", kind, name));
                }
                Step::Take => { caller.give([]); }
            }
        }
        caller.give([]);

        // The API server's Service comes after its slices: what only some of them say together would
        // be remembered else (point 28).
        let mut last: Vec<_> = objects.into_iter().collect();
        let hasher = BuildHasherDefault::<FxHasher>::default();
        last.sort_by_key(|((kind, name), _)| {
            (name == "kubernetes", hasher.hash_one((order, kind, name)))
        });
        let fresh = Caller::with_options(options, last.into_iter().map(|(_, event)| event));
        compare(&caller, &fresh);
        for (key, frontend) in &caller.known {
            check(key, frontend);
        }
        // Nothing is kept beyond the objects that are left.
        prop_assert_eq!(caller.model.services.len(), fresh.model.services.len());
        prop_assert_eq!(caller.model.owners.len(), fresh.model.owners.len());
        prop_assert_eq!(caller.model.claims.len(), fresh.model.claims.len());
        prop_assert_eq!(caller.model.uses.len(), fresh.model.uses.len());
    }
}
