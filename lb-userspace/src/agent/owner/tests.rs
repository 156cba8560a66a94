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
    model::{Model, Options, Tracked},
    publish::{
        Ids, Publisher, Sizes,
        memory::{Manual, Memory},
    },
    source::{Kind, Object, ObjectKey},
};

/// How often a message comes in a busy cluster.
const TICK: Duration = Duration::from_millis(100);

/// A node on which nothing is done, but noted how many backends sockets are closed for.
#[derive(Default)]
struct Notes {
    closed: usize,
    spared: Option<usize>,
}

impl Surroundings for Notes {
    fn opt_out(&mut self, _: &BTreeSet<u64>) -> Result<(), StoreError> {
        Ok(())
    }

    fn stop_refusing(&mut self) {}
    fn refuse_in(&mut self, _: &[IpNet]) {}

    fn close(&mut self, gone: Vec<Gone>) {
        self.closed += gone.len();
    }

    fn close_all_but(&mut self, serving: HashSet<(u32, SocketAddr)>, _: u32) {
        assert!(self.spared.replace(serving.len()).is_none(), "once");
    }
}

/// An owner of tables on plain memory.
struct Bench {
    owner: Owner<Memory, Manual, Notes>,
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
        let options = Options { track: Tracked::Udp, ..Options::default() };
        let core = Core::new(Model::new(options), publisher);
        let (sender, messages) = mpsc::channel();
        let owner = Owner::new(core, Notes::default(), messages, Metrics::new());
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

fn slice(addresses: &[&str]) -> Event {
    let endpoints: Vec<_> =
        addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    let labels = json!({"kubernetes.io/service-name": "a"});
    let object = json!({
        "metadata": {"namespace": "ns", "name": "a-1", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 1053, "protocol": "UDP"}],
        "endpoints": endpoints,
    });
    Event::Apply(Object::EndpointSlice(serde_json::from_value(object).unwrap()))
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

#[test]
fn point_22_the_owner_wakes_to_close_sockets_and_postpones_nothing_else() {
    let mut bench = Bench::new(8);
    for event in [service("a", "10.96.0.1"), slice(&["10.0.0.1", "10.0.0.2"]), Event::Synced] {
        bench.event(event);
    }
    assert_eq!(bench.owner.due(), None);
    bench.event(slice(&["10.0.0.2"]));
    (0..2).for_each(|_| bench.turn(Some(Message::GraceEnded)));
    assert!(bench.owner.core.publisher().is_settled());
    let due = bench.now + RETURN;
    assert_eq!(bench.owner.due(), Some(due));
    // Upkeep that waits is not put off by it, nor does it count as quiet.
    bench.now += RETURN / 2;
    bench.event(service("b", "10.96.0.2"));
    bench.event(deleted("b"));
    bench.turn(Some(Message::GraceEnded));
    assert_eq!((bench.owner.due(), bench.keys()), (Some(due), 2));
    bench.now = due;
    bench.turn(None);
    assert_eq!((bench.owner.surroundings.closed, bench.keys()), (1, 2));
    assert_eq!(bench.owner.due(), Some(due - RETURN / 2 + QUIET));
    bench.now = due - RETURN / 2 + QUIET;
    bench.turn(None);
    assert_eq!(bench.keys(), 1);
}

#[test]
fn point_22_sockets_older_than_the_agent_are_looked_for_when_backends_may_not_be_back_any_more() {
    let mut bench = Bench::new(8);
    // The list was read while an endpoint was on its way from one slice to another.
    for event in [service("a", "10.96.0.1"), slice(&["10.0.0.2"]), Event::Synced] {
        bench.event(event);
    }
    bench.owner.alone = Some(bench.owner.core.publisher().fence());
    (0..2).for_each(|_| bench.turn(Some(Message::GraceEnded)));
    let due = bench.now + RETURN;
    assert_eq!((bench.owner.due(), bench.owner.surroundings.spared), (Some(due), None));
    bench.event(slice(&["10.0.0.1", "10.0.0.2"]));
    bench.now = due;
    bench.turn(None);
    assert_eq!(bench.owner.surroundings.spared, Some(2));
}
