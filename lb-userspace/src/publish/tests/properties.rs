//! Any changes of many frontends that belong to few Service ports, with tables that are too small
//! at times.

use std::collections::BTreeMap;

use lb_common::{Range, Selected, Selection};
use proptest::prelude::*;

use super::*;
use crate::publish::Family;

/// What one frontend is to be.
#[derive(Clone, Debug)]
struct Wish {
    port: u8,
    /// `None`: left to others.
    hosts: Option<BTreeSet<u8>>,
    affinity: u32,
    kind: FrontendKind,
}

#[derive(Clone, Debug)]
enum Step {
    /// These frontends, by number: those from 4 on are of IPv6.
    Set(BTreeSet<u8>, Wish),
    Remove(u8),
    GraceEnds,
    Idle,
}

fn step() -> impl Strategy<Value = Step> {
    let hosts = prop::collection::btree_set(0..12u8, 0..8);
    let kind = prop_oneof![Just(FrontendKind::ClusterIp), Just(FrontendKind::NodePort)];
    let affinity = prop_oneof![Just(0), Just(60u32)];
    let wish = (0..3u8, prop::option::weighted(0.9, hosts), affinity, kind)
        .prop_map(|(port, hosts, affinity, kind)| Wish { port, hosts, affinity, kind });
    prop_oneof![
        8 => (prop::collection::btree_set(0..8u8, 1..4), wish)
            .prop_map(|(numbers, wish)| Step::Set(numbers, wish)),
        3 => (0..8u8).prop_map(Step::Remove),
        3 => Just(Step::GraceEnds),
        1 => Just(Step::Idle),
    ]
}

fn numbered(number: u8) -> FrontendKey {
    if number < 4 { key(number) } else { key6(number) }
}

fn name(port: u8) -> String {
    format!("a/p{port}/TCP")
}

fn change(key: FrontendKey, wish: &Wish) -> FrontendChange {
    let hosts = wish.hosts.clone().unwrap_or_default();
    let mut frontend = frontend(key, &name(wish.port), hosts);
    (frontend.affinity, frontend.kind) = (wish.affinity, wish.kind);
    if wish.hosts.is_none() {
        frontend.target = Target::Pass;
    }
    put(key, frontend)
}

/// What must hold at every moment.
#[derive(Default)]
struct Witness {
    wanted: BTreeMap<u8, Wish>,
    /// Whose each id was when it was first seen.
    ports: BTreeMap<u32, (Family, String)>,
    backends: BTreeMap<u32, (u32, SocketAddr)>,
    /// The backend that the client last had of each Service port with affinity.
    stuck: BTreeMap<u32, u32>,
}

impl Witness {
    fn check(&mut self, twin: &Twin) -> Result<(), TestCaseError> {
        let mut node_ports = BTreeSet::new();
        let mut ids = BTreeMap::new();
        for number in 0..8 {
            let key = numbered(number);
            let wish = self.wanted.get(&number);
            if twin
                .frontends
                .get(&key)
                .is_some_and(|entry| !entry.gone && entry.kind == FrontendKind::NodePort)
            {
                node_ports.insert((key.protocol, key.port));
            }
            let Some(service) = twin.store().service(&key) else { continue };
            let unmet = twin.unmet.contains_key(&key);
            let Some(found) = twin.reachable(key) else {
                prop_assert!(unmet || wish.is_none_or(|wish| wish.hosts.is_none()));
                prop_assert_eq!(twin.store().select(&key), Selection::NotAFrontend);
                continue;
            };
            let wish = wish.expect("what is in force is wanted");
            let wanted = hosts(key, wish.hosts.clone().unwrap_or_default()).unwrap();
            if unmet {
                prop_assert!(found.is_subset(&wanted), "{found:?} {wanted:?}");
            } else {
                prop_assert_eq!(&found, &wanted);
                prop_assert_eq!(service.affinity, wish.affinity);
                prop_assert_eq!(&twin.store().names[&service.id], &name(wish.port));
            }
            self.check_ids(twin, key, service.id)?;
            for backend in twin.store().backends_of(&key).unwrap() {
                let id = *ids.entry((service.id, backend.address)).or_insert(backend.id);
                prop_assert_eq!(id, backend.id, "a backend has one id at a time");
            }
            self.connect(twin, key, service.affinity)?;
        }
        prop_assert_eq!(&twin.store().node_ports, &node_ports);
        Ok(())
    }

    /// An id is one thing's for ever.
    fn check_ids(&mut self, twin: &Twin, key: FrontendKey, id: u32) -> Result<(), TestCaseError> {
        let port = (Family::of(&key.address), twin.store().names[&id].clone());
        prop_assert_eq!(self.ports.entry(id).or_insert_with(|| port.clone()), &port);
        let block = twin.store().backends_of(&key).unwrap();
        prop_assert!(block.is_sorted_by(|a, b| a.id < b.id));
        for backend in block {
            let whose = (id, backend.address);
            prop_assert_eq!(*self.backends.entry(backend.id).or_insert(whose), whose);
        }
        Ok(())
    }

    fn connect(
        &mut self,
        twin: &Twin,
        key: FrontendKey,
        affinity: u32,
    ) -> Result<(), TestCaseError> {
        let ids = twin.ids_of(key);
        match twin.store().select(&key) {
            Selection::NoBackend => prop_assert!(ids.is_empty()),
            Selection::Backend(Selected { backend, service, .. }) => {
                prop_assert!(ids.contains(&backend.id));
                if affinity > 0 {
                    let before = self.stuck.insert(service, backend.id);
                    let stays = before.filter(|before| ids.contains(before));
                    prop_assert!(stays.is_none_or(|stays| stays == backend.id));
                }
            }
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    }

    /// With nothing waiting and everything met, nothing is missing or left over.
    fn check_settled(&self, twin: &Twin, capacity: u32) -> Result<(), TestCaseError> {
        let store = twin.store();
        prop_assert_eq!(store.listed.len(), self.wanted.len());
        let ports = self.wanted.iter().map(|(number, wish)| (*number < 4, wish.port));
        prop_assert_eq!(store.names.len(), ports.collect::<BTreeSet<_>>().len());
        let mut used = 0;
        for family in [true, false] {
            let sets: BTreeSet<(u8, &BTreeSet<u8>)> = self
                .wanted
                .iter()
                .filter(|(number, _)| (**number < 4) == family)
                .filter_map(|(_, wish)| Some((wish.port, wish.hosts.as_ref()?)))
                .collect();
            let in_family: usize = sets.iter().map(|(_, hosts)| hosts.len()).sum();
            let free = twin.blocks[if family { Family::V4 } else { Family::V6 }].free();
            prop_assert_eq!(u64::from(free), u64::from(capacity) - in_family as u64);
            used += in_family as u64;
        }
        prop_assert_eq!(twin.stats().backends, used);
        for (number, wish) in &self.wanted {
            let range = store.service(&numbered(*number)).unwrap().range;
            prop_assert_eq!(range == Range::PASS, wish.hosts.is_none());
        }
        Ok(())
    }
}

proptest! {
    /// After any steps, each frontend that is listed has exactly its wanted backends, unless the
    /// publisher reported that it could not; equal sets of one port stand in the table once; and ids
    /// name what they named before.
    #[test]
    fn readers_find_what_is_wanted(
        steps in prop::collection::vec(step(), 1..80),
        capacity in 8..40u32,
    ) {
        let (mut twin, grace) = twin(10, capacity);
        let mut witness = Witness::default();
        for step in steps {
            let failures = match step {
                Step::Set(numbers, wish) => {
                    let changes: Vec<_> =
                        numbers.iter().map(|number| change(numbered(*number), &wish)).collect();
                    witness.wanted.extend(numbers.into_iter().map(|number| (number, wish.clone())));
                    twin.apply(changes)
                }
                Step::Remove(number) => {
                    witness.wanted.remove(&number);
                    twin.apply([remove(numbered(number))])
                }
                Step::GraceEnds => {
                    grace.over.set(grace.under_way.get());
                    twin.maintain(false)
                }
                Step::Idle => twin.maintain(true),
            };
            for failure in failures.unwrap() {
                prop_assert!(twin.unmet.contains_key(&failure.key), "reported, so tried again");
            }
            witness.check(&twin)?;
        }
        twin.settle().unwrap();
        // What finds room at last may leave some to others, each of the eight once.
        for _ in 0..8 {
            twin.maintain(true).unwrap();
            twin.settle().unwrap();
        }
        witness.check(&twin)?;
        if twin.unmet.is_empty() {
            witness.check_settled(&twin, capacity)?;
        }
        for (key, frontend) in &twin.unmet {
            let Target::Balance(backends) = &frontend.target else { panic!("{key} needs no room") };
            let longest = twin.blocks[Family::of(&key.address)].longest();
            prop_assert!(backends.len() > longest as usize, "{key} has room");
        }
    }
}
