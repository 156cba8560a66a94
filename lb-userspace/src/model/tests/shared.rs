//! Frontends of one port that have the same backends share one allocation.

use std::sync::Arc;

use serde_json::json;

use super::*;

fn one_set(caller: &Caller) -> bool {
    let mut sets = caller.known.values().map(set);
    let first = sets.next().expect("a frontend");
    sets.all(|set| Arc::ptr_eq(first, set))
}

fn events() -> [Event; 3] {
    let fields = json!({
        "externalIPs": ["192.0.2.1"], "type": "NodePort",
        "ports": [{"port": 80, "nodePort": 30080}],
    });
    [
        local(&["192.168.0.1"]),
        web_plus("web", fields),
        slice("a", "web", json!([ready("10.0.0.1"), ready("10.0.0.2")])),
    ]
}

#[test]
fn frontends_of_one_port_share_their_backends() {
    let mut caller = Caller::with(events());
    assert_eq!(caller.known.len(), 3);
    assert!(one_set(&caller));

    // Also those that come later, or change together.
    assert_eq!(caller.give([local(&["192.168.0.1", "192.168.0.2"])]), 1);
    assert!(one_set(&caller));
    assert_eq!(caller.give([slice("a", "web", json!([ready("10.0.0.1")]))]), 4);
    assert!(one_set(&caller));
    // A slice more without a backend more, then another address.
    assert_eq!(caller.give([slice("b", "web", json!([ready("10.0.0.1")]))]), 0);
    assert_eq!(caller.give([local(&["192.168.0.1"])]), 1);
    assert_eq!(caller.give([local(&["192.168.0.3"])]), 2);
    assert!(one_set(&caller));
}

#[test]
fn a_change_of_the_nodes_addresses_computes_no_backends() {
    let mut caller = Caller::with(events());
    let before = set(caller.frontend(WEB)).clone();
    caller.give([local(&["192.168.0.9"])]);
    assert!(Arc::ptr_eq(&before, set(caller.frontend("192.168.0.9:30080"))));
    assert!(caller.model.services.values().all(|entry| !entry.stale));
}
