//! The owner, turn by turn, by a clock of the test's.

use std::{
    sync::mpsc::{self, Sender},
    time::Duration,
};

use serde_json::json;

use super::{
    super::upkeep::{OVERDUE, QUIET},
    *,
};
use crate::{
    model::{Model, Options},
    publish::{
        Ids, Publisher, Sizes,
        memory::{Manual, Memory},
    },
    source::{Kind, Object, ObjectKey},
};

/// How often a message comes in a busy cluster.
const TICK: Duration = Duration::from_millis(100);

/// A node on which nothing is done.
struct Nowhere;

impl Surroundings for Nowhere {
    fn opt_out(&mut self, _: &BTreeSet<u64>) -> Result<(), StoreError> {
        Ok(())
    }

    fn stop_refusing(&mut self) {}
    fn refuse_in(&mut self, _: &[IpNet]) {}
    fn close(&mut self, _: Vec<Gone>) {}
    fn close_all_but(&mut self, _: HashSet<(u32, SocketAddr)>, _: u32) {}
}

/// An owner of tables on plain memory.
struct Bench {
    owner: Owner<Memory, Manual, Nowhere>,
    grace: Manual,
    now: Instant,
    _sender: Sender<Message>,
}

impl Bench {
    /// The kernel takes no more than `names` names.
    fn new(names: usize) -> Self {
        let (sizes, grace) = (Sizes::new(8, 16), Manual::default());
        let mut memory = Memory::new(sizes);
        memory.max_names = names;
        let publisher = Publisher::new(memory, grace.clone(), sizes, Ids::default());
        let core = Core::new(Model::new(Options::default()), publisher);
        let (sender, messages) = mpsc::channel();
        let owner = Owner::new(core, Nowhere, messages, Metrics::new());
        Self { owner, grace, now: Instant::now(), _sender: sender }
    }

    fn turn(&mut self, first: Option<Message>) {
        // Grace periods are short.
        self.grace.over.set(self.grace.under_way.get());
        self.owner.publish(first, self.now).unwrap().expect("nothing ends the agent");
        self.owner.keep_up(self.now).unwrap();
    }

    fn event(&mut self, event: Event) {
        self.turn(Some(Message::Event(event, None)));
    }

    /// Messages that change nothing, one after the other, for this long.
    fn busy(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            self.turn(Some(Message::Ping(oneshot::channel().0)));
        }
    }

    fn keys(&mut self) -> usize {
        self.owner.core.publisher().store().listed.len()
    }

    fn names(&mut self) -> Vec<String> {
        self.owner.core.publisher().store().names.values().cloned().collect()
    }
}

fn service(name: &str, address: &str) -> Event {
    let object = json!({
        "metadata": {"namespace": "ns", "name": name},
        "spec": {"clusterIPs": [address], "ports": [{"port": 53, "protocol": "UDP"}]},
    });
    Event::Apply(Object::Service(serde_json::from_value(object).unwrap()))
}

fn deleted(name: &str) -> Event {
    Event::Delete(ObjectKey { kind: Kind::Service, namespace: "ns".into(), name: name.into() })
}

#[test]
fn keys_of_gone_frontends_go_and_names_come_though_the_cluster_is_never_quiet() {
    let mut bench = Bench::new(1);
    for event in [service("a", "10.96.0.1"), service("b", "10.96.0.2"), Event::Synced] {
        bench.event(event);
    }
    assert_eq!((bench.keys(), bench.names()), (2, vec!["ns/a/UDP".into()]));
    // The name that is missing has waited since.
    bench.busy(OVERDUE);
    bench.event(deleted("a"));
    bench.busy(OVERDUE - TICK);
    assert_eq!(bench.keys(), 2, "each deletion makes others wait");
    bench.busy(TICK);
    assert_eq!((bench.keys(), bench.names()), (1, vec![]));
    bench.busy(OVERDUE + TICK);
    assert_eq!(bench.names(), ["ns/b/UDP"]);
    assert!(bench.owner.core.publisher().is_settled());
}

#[test]
fn what_has_just_begun_to_wait_is_not_overdue_however_long_nothing_did() {
    let mut bench = Bench::new(8);
    bench.event(service("a", "10.96.0.1"));
    bench.event(Event::Synced);
    bench.busy(2 * OVERDUE);
    bench.event(deleted("a"));
    bench.busy(OVERDUE - TICK);
    assert_eq!(bench.keys(), 1);
    // It comes back in time, with one store.
    bench.event(service("a", "10.96.0.1"));
    bench.busy(2 * OVERDUE);
    assert_eq!(bench.keys(), 1);
}

#[test]
fn keys_of_gone_frontends_go_after_a_quiet_second() {
    let mut bench = Bench::new(8);
    bench.event(service("a", "10.96.0.1"));
    bench.event(Event::Synced);
    bench.event(deleted("a"));
    for (time, keys) in [(QUIET / 2, 1), (QUIET / 2, 0)] {
        bench.now += time;
        bench.turn(None);
        assert_eq!(bench.keys(), keys);
    }
}
