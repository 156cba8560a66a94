//! One frontend's life: coming, changing hands, going, and what each word of its slot says.

use lb_common::{Selected, Selection, layout::HOST_ONLY};

use super::*;
use crate::publish::Family;

#[test]
fn point_19_a_frontend_without_backends_refuses_and_one_that_is_gone_does_not_exist() {
    for key in [key(1), key6(1)] {
        let (mut twin, _) = twin(4, 8);
        twin.publish([set(key, "a/b/TCP", [])]);
        assert_eq!(twin.store().select(&key), Selection::NoBackend);
        twin.publish([remove(key)]);
        assert_eq!(twin.store().select(&key), Selection::NotAFrontend);
        assert!(twin.store().listed.contains_key(&key), "the key is deleted later");
        twin.settle().unwrap();
        assert!(twin.store().listed.is_empty() && twin.store().names.is_empty());
        assert_eq!(twin.stats().backends, 0);
        assert_eq!(twin.service_id("a/b/TCP", Family::of(&key.address)), None);
    }
}

#[test]
fn a_frontend_that_returns_before_its_key_is_deleted_needs_no_insertion() {
    let (mut twin, _) = twin(4, 8);
    twin.publish([set(key(1), "a/b/TCP", [1, 2])]);
    let before = twin.store().service(&key(1)).unwrap();
    twin.publish([remove(key(1))]);
    twin.publish([set(key(1), "a/b/TCP", [1])]);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [1]));
    assert_eq!(twin.store().service(&key(1)).unwrap().id, before.id);
    twin.settle().unwrap();
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [1]));
    assert_eq!(twin.store().names.len(), 1);
}

#[test]
fn point_8_each_family_has_frontends_sets_and_ids_of_its_own() {
    let (mut twin, _) = twin(4, 8);
    twin.publish([set(key(1), "a/b/TCP", [1, 2]), set(key6(1), "a/b/TCP", [1, 2])]);
    let ids = [Family::V4, Family::V6].map(|family| twin.service_id("a/b/TCP", family).unwrap());
    assert_ne!(ids[0], ids[1]);
    for (key, service) in [key(1), key6(1)].into_iter().zip(ids) {
        assert_eq!(twin.reachable(key), hosts(key, [1, 2]));
        let Selection::Backend(found) = twin.store().select(&key) else { panic!("no backend") };
        assert_eq!(found.service, service);
        assert_eq!(found.backend.address.is_ipv4(), key.address.is_ipv4());
    }
    twin.publish([remove(key(1))]);
    assert_eq!(twin.reachable(key6(1)), hosts(key6(1), [1, 2]));
}

#[test]
fn another_service_takes_over_a_frontend_in_place() {
    let (mut twin, _) = twin(2, 6);
    twin.publish([set(key(1), "a/one/TCP", [1])]);
    let (slot, old) = (twin.store().listed[&key(1)], twin.ids_of(key(1)));
    twin.publish([set(key(1), "a/other/TCP", [1, 2])]);
    assert_eq!(twin.store().listed[&key(1)], slot);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [1, 2]));
    assert!(twin.ids_of(key(1)).iter().all(|id| !old.contains(id)), "ids belong to a port");
    let id = twin.service_id("a/other/TCP", Family::V4).unwrap();
    assert_eq!(twin.store().service(&key(1)).unwrap().id, id);
    assert_eq!(
        twin.store().names.clone().into_iter().collect::<Vec<_>>(),
        [(id, "a/other/TCP".to_owned())]
    );
    assert_eq!(twin.service_id("a/one/TCP", Family::V4), None);
}

#[test]
fn a_takeover_leaves_the_other_frontends_of_both_ports_alone() {
    let (mut twin, _) = twin(4, 8);
    twin.publish([
        set(key(1), "a/one/TCP", [1, 2]),
        set(key(2), "a/one/TCP", [1, 2]),
        set(key(3), "a/other/TCP", [1, 2]),
    ]);
    let (one, other) = (twin.ids_of(key(1)), twin.ids_of(key(3)));
    let written = twin.store().written[Family::V4];
    twin.publish([set(key(2), "a/other/TCP", [1, 2])]);
    assert_eq!(twin.store().written[Family::V4], written, "the other port has the set");
    let ids = [key(1), key(2), key(3)].map(|key| twin.ids_of(key));
    assert_eq!(ids, [one, other.clone(), other]);
    assert_eq!(twin.store().names.len(), 2);
}

#[test]
fn point_15_affinity_is_switched_by_the_identity_alone_and_holds_across_frontends() {
    let (mut twin, _) = twin(4, 8);
    let sticky = |key, affinity| {
        let frontend = Frontend { affinity, ..frontend(key, "a/b/TCP", 1..=4) };
        put(key, frontend)
    };
    let connect = |twin: &Twin, key| match twin.store().select(&key) {
        Selection::Backend(Selected { backend, .. }) => backend.id,
        other => panic!("{other:?}"),
    };
    twin.publish([sticky(key(1), 60), sticky(key(2), 60)]);
    let (chosen, publishes) = (connect(&twin, key(1)), twin.stats().publishes);
    assert!((0..20).all(|number| connect(&twin, key(1 + number % 2)) == chosen));
    twin.publish([sticky(key(1), 0), sticky(key(2), 0)]);
    assert!((0..20).any(|_| connect(&twin, key(1)) != chosen));
    twin.publish([sticky(key(1), 10), sticky(key(2), 10)]);
    assert!((0..20).all(|_| connect(&twin, key(2)) == chosen));
    twin.store().now.set(11);
    let chosen = connect(&twin, key(1));
    assert!((0..20).all(|_| connect(&twin, key(2)) == chosen));
    assert_eq!(twin.stats().publishes, publishes, "the sets did not change");
}

#[test]
fn point_16_host_only_is_a_flag_of_the_slot() {
    let (mut twin, _) = twin(4, 8);
    let host_only = |host_only| {
        let frontend = Frontend { host_only, ..frontend(key(1), "a/b/TCP", [1]) };
        put(key(1), frontend)
    };
    twin.publish([host_only(true)]);
    assert_eq!(twin.store().service(&key(1)).unwrap().flags, HOST_ONLY);
    assert_eq!(twin.store().select(&key(1)), Selection::NotAFrontend);
    twin.publish([host_only(false)]);
    assert!(matches!(twin.store().select(&key(1)), Selection::Backend(_)));
    // A slot that is used again says nothing of who had it before.
    twin.publish([host_only(true)]);
    twin.publish([remove(key(1))]);
    twin.settle().unwrap();
    twin.publish([set(key(2), "a/c/TCP", [1])]);
    assert_eq!(twin.store().listed[&key(2)], 0);
    assert!(matches!(twin.store().select(&key(2)), Selection::Backend(_)));
}

#[test]
fn a_frontend_is_left_to_others_and_taken_back() {
    let (mut twin, _) = twin(4, 8);
    twin.publish([pass(key(1), "a/b/TCP")]);
    assert_eq!(twin.store().select(&key(1)), Selection::NotAFrontend);
    twin.publish([set(key(1), "a/b/TCP", [1, 2])]);
    assert_eq!(twin.reachable(key(1)), hosts(key(1), [1, 2]));
    twin.publish([pass(key(1), "a/b/TCP")]);
    assert_eq!(twin.store().select(&key(1)), Selection::NotAFrontend);
    assert_eq!(twin.stats().backends, 0);
    twin.publish([set(key(1), "a/b/TCP", [])]);
    assert_eq!(twin.store().select(&key(1)), Selection::NoBackend);
}

#[test]
fn a_node_port_is_served_while_any_address_has_it() {
    let (mut twin, _) = twin(8, 8);
    let node_port = |number, port, protocol, kind| {
        let key = FrontendKey { port, protocol, ..key(number) };
        put(key, Frontend { kind, ..frontend(key, "a/b/TCP", [1]) })
    };
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    twin.publish([
        node_port(1, 30080, tcp, FrontendKind::NodePort),
        node_port(1, 30080, udp, FrontendKind::NodePort),
        node_port(2, 30080, tcp, FrontendKind::NodePort),
        node_port(3, 30081, tcp, FrontendKind::ExternalIp),
    ]);
    let served = |twin: &Twin| twin.store().node_ports.iter().copied().collect::<Vec<_>>();
    assert_eq!(served(&twin), [(tcp, 30080), (udp, 30080)]);
    let [first, second, third] =
        [1, 2, 3].map(|number| FrontendKey { port: 30080, protocol: tcp, ..key(number) });
    twin.publish([remove(first)]);
    assert_eq!(served(&twin), [(tcp, 30080), (udp, 30080)]);
    // What is known to be gone does not count twice, and comes back.
    twin.publish([remove(first)]);
    twin.publish([remove(second)]);
    assert_eq!(served(&twin), [(udp, 30080)]);
    twin.publish([node_port(1, 30080, tcp, FrontendKind::NodePort)]);
    assert_eq!(served(&twin), [(tcp, 30080), (udp, 30080)]);
    twin.publish([node_port(1, 30080, tcp, FrontendKind::ExternalIp)]);
    assert_eq!(served(&twin), [(udp, 30080)]);
    twin.publish([remove(third), node_port(1, 30080, udp, FrontendKind::LoadBalancer)]);
    assert_eq!(served(&twin), []);
}
