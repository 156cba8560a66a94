//! When sockets are looked at again, and when no more, by a clock of the test's.

use std::{cell::Cell, time::Duration};

use super::{
    super::{
        Gone, LOOKS, Request, UDP,
        fake::{FakeNode, State, socket},
        node::Family,
        stale::tests::origin,
    },
    *,
};
use crate::netns::Search;

const POD: &str = "10.244.0.9:53";
const OTHER: &str = "10.244.0.8:53";

/// Passes over a fake node, with origins and a clock that the test sets.
struct Bench {
    node: FakeNode,
    passes: Passes<FakeNode>,
    origins: io::Result<Vec<Origin>>,
    reads: Cell<usize>,
    now: Instant,
}

impl Bench {
    fn new(node: FakeNode, origins: Vec<Origin>) -> Self {
        Self {
            passes: Passes::new(node.clone()),
            node,
            origins: Ok(origins),
            reads: Cell::new(0),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, requests: impl IntoIterator<Item = Request>) -> Report {
        let mut wanted = Wanted::default();
        requests.into_iter().for_each(|request| wanted.add(request));
        let read = || {
            self.reads.set(self.reads.get() + 1);
            match &self.origins {
                Ok(origins) => Ok(origins.clone()),
                Err(error) => Err(io::Error::from_raw_os_error(error.raw_os_error().unwrap())),
            }
        };
        self.passes.make(wanted, &read, || self.now)
    }

    /// Lets time pass until the next look is due, and makes it. Returns how long it waited.
    fn next(&mut self) -> Option<(Duration, Report)> {
        let due = self.passes.due()?;
        let waited = due - self.now;
        self.now = due;
        Some((waited, self.pass([])))
    }

    /// Connects a socket elsewhere.
    fn connect(&self, cookie: u64, peer: &str) {
        let sockets = &mut self.node.state.borrow_mut().namespaces[0].sockets;
        sockets.retain(|socket| socket.cookie() != cookie);
        sockets.push(socket(cookie, Family::Inet, UDP, peer));
    }
}

fn gone(service: u32, backend: &str) -> Request {
    Request::Gone(vec![Gone { service, backend: backend.parse().unwrap(), before: u32::MAX }])
}

#[test]
fn point_22_a_thousand_backends_take_one_reading_of_origins_and_one_list() {
    let pods: Vec<_> =
        (0..1000).map(|pod| format!("10.1.{}.{}:53", pod / 250, pod % 250)).collect();
    let sockets =
        (0..).zip(&pods).map(|(cookie, pod)| socket(cookie, Family::Inet, UDP, pod)).collect();
    let origins = (0..).zip(&pods).map(|(cookie, pod)| origin(cookie, 1, UDP, 4, pod)).collect();
    let mut bench = Bench::new(FakeNode::default().with(1, sockets), origins);
    let report = bench.pass(pods.iter().map(|pod| gone(4, pod)));
    assert_eq!((report.udp, report.backends, report.again), (1000, 1000, 0));
    assert_eq!(bench.reads.get(), 1);
    assert_eq!(bench.node.lists(), [(1, UDP, Family::Inet)]);
    assert_eq!(bench.passes.due(), None);
}

#[test]
fn a_socket_whose_connect_is_not_done_yet_is_closed_at_a_later_look() {
    for looks in 1..LOOKS {
        let node = FakeNode::default().with(1, vec![]);
        let mut bench = Bench::new(node, vec![origin(11, 1, UDP, 4, POD)]);
        let report = bench.pass([gone(4, POD)]);
        assert_eq!((report.stale, report.udp, report.again), (1, 0, 1));
        for _ in 1..looks {
            assert_eq!(bench.next().unwrap().1.again, 1);
        }
        bench.connect(11, POD);
        let (_, report) = bench.next().unwrap();
        assert_eq!((report.udp, report.again, report.missed), (1, 0, 0), "look {looks}");
        assert_eq!(bench.node.destroyed(), [11]);
        assert!(bench.next().is_none());
    }
}

#[test]
fn a_socket_that_stays_connected_elsewhere_is_looked_at_a_few_times_only() {
    let node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, OTHER)]);
    let mut bench = Bench::new(node, vec![origin(11, 1, UDP, 4, POD)]);
    assert_eq!(bench.pass([gone(4, POD)]).missed, 0);
    let mut waits = Vec::new();
    let mut missed = 0;
    while let Some((waited, report)) = bench.next() {
        waits.push(waited);
        missed += report.missed;
    }
    assert_eq!(waits, DELAYS);
    assert_eq!(missed, 1);
    assert!(bench.node.destroyed().is_empty());
}

#[test]
fn a_socket_that_is_gone_at_the_second_look_is_not_missed() {
    let mut bench =
        Bench::new(FakeNode::default().with(1, vec![]), vec![origin(11, 1, UDP, 4, POD)]);
    assert_eq!(bench.pass([gone(4, POD)]).again, 1);
    bench.origins = Ok(vec![]);
    let (_, report) = bench.next().unwrap();
    assert_eq!((report.stale, report.missed, report.again), (0, 0, 0));
    assert!(bench.next().is_none());
}

#[test]
fn point_22_a_socket_that_was_connected_anew_is_not_closed_at_a_later_look() {
    let node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, OTHER)]);
    let mut bench = Bench::new(node, vec![origin(11, 1, UDP, 4, POD)]);
    assert_eq!(bench.pass([gone(4, POD)]).again, 1);
    // By another service that the same Pod still serves.
    bench.origins = Ok(vec![origin(11, 1, UDP, 5, POD)]);
    bench.connect(11, POD);
    let (_, report) = bench.next().unwrap();
    assert_eq!((report.stale, report.udp, report.again), (0, 0, 0));
    assert!(bench.node.destroyed().is_empty());
}

#[test]
fn what_is_not_due_yet_waits_while_others_are_served() {
    let node = FakeNode::default()
        .with(1, vec![socket(12, Family::Inet, UDP, OTHER), socket(13, Family::Inet, UDP, OTHER)]);
    let origins = vec![origin(11, 1, UDP, 4, POD), origin(12, 1, UDP, 4, OTHER)];
    let mut bench = Bench::new(node, origins);
    assert_eq!(bench.pass([gone(4, POD)]).again, 1);
    bench.now += DELAYS[0] / 2;
    let report = bench.pass([gone(4, OTHER)]);
    assert_eq!((report.stale, report.udp, report.again), (1, 1, 1));
    assert_eq!(bench.next().unwrap().0, DELAYS[0] / 2, "it was not put off");
}

#[test]
fn the_same_request_again_starts_the_looks_anew_and_closes_once() {
    let mut bench =
        Bench::new(FakeNode::default().with(1, vec![]), vec![origin(11, 1, UDP, 4, POD)]);
    assert_eq!(bench.pass([gone(4, POD)]).again, 1);
    bench.connect(11, POD);
    let report = bench.pass([gone(4, POD)]);
    assert_eq!((report.udp, report.again), (1, 0));
    assert!(bench.next().is_none());
}

/// What a kernel without memory says.
fn no_memory<T>() -> io::Result<T> {
    Err(io::Error::from_raw_os_error(libc::ENOMEM))
}

#[test]
fn point_22_a_request_waits_for_as_long_as_origins_cannot_be_read() {
    let node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, POD)]);
    let mut bench = Bench::new(node, vec![]);
    bench.origins = no_memory();
    let report = bench.pass([gone(4, POD)]);
    assert!(matches!(report.errors[..], [CloseError::Origins(_)]), "{:?}", report.errors);
    let waits: Vec<_> = (0..20).map(|_| bench.next().unwrap().0).collect();
    assert_eq!(waits[..3], [50, 100, 200].map(Duration::from_millis));
    assert_eq!(waits[11..], [LONGEST_PAUSE; 9]);
    assert!(bench.passes.is_failing());

    bench.origins = Ok(vec![origin(11, 1, UDP, 4, POD)]);
    assert_eq!(bench.next().unwrap().1.udp, 1);
    assert!(bench.next().is_none() && !bench.passes.is_failing());
}

#[test]
fn other_requests_neither_put_off_what_could_not_be_read_nor_make_its_pauses_longer() {
    let mut bench = Bench::new(FakeNode::default().with(1, vec![]), vec![]);
    bench.origins = no_memory();
    bench.pass([gone(4, POD)]);
    let due = bench.passes.due();
    for _ in 0..40 {
        bench.now += FIRST_PAUSE / 50;
        bench.pass([gone(4, OTHER)]);
        assert_eq!(bench.passes.due(), due);
    }
    let mut next = || bench.next().unwrap().0;
    assert_eq!([next(), next()], [FIRST_PAUSE / 5, 2 * FIRST_PAUSE]);
}

#[test]
fn point_22_a_socket_waits_for_as_long_as_it_cannot_be_looked_for() {
    let failures: [fn(&mut State); 3] = [
        |state| state.search_error = Some((Search::Usual, libc::EMFILE)),
        |state| state.open_error = Some((1, libc::EMFILE)),
        |state| state.list_error = Some((UDP, libc::ENOMEM)),
    ];
    for (number, fail) in failures.into_iter().enumerate() {
        let node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, POD)]);
        let mut bench = Bench::new(node, vec![origin(11, 1, UDP, 4, POD)]);
        fail(&mut bench.node.state.borrow_mut());
        bench.pass([gone(4, POD)]);
        for _ in 0..20 {
            let (_, report) = bench.next().unwrap();
            assert_eq!((report.errors.len(), report.again, report.missed), (1, 1, 0), "{number}");
        }
        bench.node.recover();
        let (waited, report) = bench.next().unwrap();
        assert_eq!((waited, report.udp, report.again), (LONGEST_PAUSE, 1, 0), "{number}");
        assert!(!bench.passes.is_failing());
    }
}

#[test]
fn a_socket_that_could_be_looked_for_at_last_and_is_not_there_has_its_few_looks() {
    let mut bench =
        Bench::new(FakeNode::default().with(1, vec![]), vec![origin(11, 1, UDP, 4, POD)]);
    bench.node.state.borrow_mut().list_error = Some((UDP, libc::ENOMEM));
    bench.pass([gone(4, POD)]);
    bench.origins = no_memory();
    assert_eq!(bench.next().unwrap().1.again, 1, "neither did origins count as a look");
    bench.origins = Ok(vec![origin(11, 1, UDP, 4, POD)]);
    bench.node.recover();
    let passes: Vec<_> = std::iter::from_fn(|| bench.next()).take(10).collect();
    assert_eq!(passes.len(), LOOKS);
    assert_eq!(passes[1..].iter().map(|(waited, _)| *waited).collect::<Vec<_>>(), DELAYS);
    assert_eq!(passes.iter().map(|(_, report)| report.missed).sum::<usize>(), 1);
}

#[test]
fn sockets_that_cannot_be_looked_for_go_together_whenever_they_were_asked_for() {
    let sockets = [(11, POD), (12, OTHER)];
    let node = sockets.map(|(cookie, peer)| socket(cookie, Family::Inet, UDP, peer));
    let origins = sockets.map(|(cookie, peer)| origin(cookie, 1, UDP, 4, peer));
    let mut bench = Bench::new(FakeNode::default().with(1, node.into()), origins.into());
    bench.node.state.borrow_mut().open_error = Some((1, libc::EMFILE));
    bench.pass([gone(4, POD)]);
    bench.now += FIRST_PAUSE / 2;
    bench.pass([gone(4, OTHER)]);
    for _ in 0..20 {
        bench.next().unwrap();
    }
    bench.node.recover();
    let (waited, report) = bench.next().unwrap();
    assert_eq!((waited, report.udp, report.again), (LONGEST_PAUSE, 2, 0));
}

#[test]
fn a_socket_that_goes_before_it_can_be_looked_for_is_not_kept() {
    let mut bench =
        Bench::new(FakeNode::default().with(1, vec![]), vec![origin(11, 1, UDP, 4, POD)]);
    bench.node.state.borrow_mut().open_error = Some((1, libc::EMFILE));
    assert_eq!(bench.pass([gone(4, POD)]).again, 1);
    bench.origins = Ok(vec![]);
    assert_eq!(bench.next().unwrap().1.again, 0);
    assert!(bench.next().is_none());
}
