//! With a kernel that refuses at first.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use ipnet::IpNet;

use super::*;
use crate::{
    agent::{Core, Message, Owner},
    close::Gone,
    logged::Log,
    metrics::Metrics,
    model::{Model, Options},
    publish::{
        Ids, Publisher, Sizes, StoreError,
        memory::{Manual, Memory},
    },
};

const AT_MOST: Duration = Duration::from_secs(20);

struct Kernel {
    /// How often it is to refuse.
    refusals: usize,
    asked: Sender<BTreeSet<u64>>,
}

impl Kernel {
    fn new(refusals: usize) -> (Self, Receiver<BTreeSet<u64>>) {
        let (asked, sets) = channel();
        (Self { refusals, asked }, sets)
    }
}

impl Surroundings for Kernel {
    fn opt_out(&mut self, cookies: &BTreeSet<u64>) -> Result<(), StoreError> {
        self.asked.send(cookies.clone()).unwrap();
        if self.refusals == 0 {
            return Ok(());
        }
        self.refusals -= 1;
        let source = io::ErrorKind::OutOfMemory.into();
        Err(StoreError { call: "BPF_MAP_UPDATE_BATCH", table: "lb_optouts", source })
    }

    fn stop_refusing(&mut self) {}

    fn refuse_in(&mut self, _: &[IpNet]) {}

    fn close(&mut self, _: Vec<Gone>) {}

    fn close_all_but(&mut self, _: HashSet<(u32, SocketAddr)>, _: u32) {}
}

fn set(cookies: &[u64]) -> BTreeSet<u64> {
    cookies.iter().copied().collect()
}

#[test]
fn what_was_refused_is_repeated_until_it_holds() {
    let (mut kernel, asked) = Kernel::new(2);
    let mut left_alone = LeftAlone::default();
    let start = Instant::now();
    left_alone.set(set(&[7]), &mut kernel, start);
    // Whether it was asked again that much later.
    let mut later = |pauses| {
        left_alone.repeat(&mut kernel, start + PAUSE.mul_f32(pauses));
        left_alone.is_settled()
    };
    let asked = || asked.try_iter().collect::<Vec<_>>();
    assert_eq!(asked(), [set(&[7])]);
    assert!(!later(0.5));
    assert_eq!(asked(), [], "too early");
    assert!(!later(1.0));
    assert_eq!(asked(), [set(&[7])]);
    assert!(!later(1.5));
    assert_eq!(asked(), [], "too early after the second time");
    assert!(later(2.0));
    assert_eq!(asked(), [set(&[7])]);
    assert!(later(9.0));
    assert_eq!(asked(), [], "it holds");
}

#[test]
fn a_later_set_takes_the_place_of_one_that_was_refused() {
    let (mut kernel, asked) = Kernel::new(1);
    let mut left_alone = LeftAlone::default();
    let start = Instant::now();
    left_alone.set(set(&[7]), &mut kernel, start);
    left_alone.set(set(&[8]), &mut kernel, start);
    assert!(left_alone.is_settled());
    left_alone.repeat(&mut kernel, start + PAUSE);
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [set(&[7]), set(&[8])]);
}

#[test]
fn it_is_logged_once_that_it_was_refused_and_once_that_it_holds() {
    let (mut kernel, _asked) = Kernel::new(3);
    let mut left_alone = LeftAlone::default();
    let log = Log::new();
    let start = Instant::now();
    left_alone.set(set(&[7]), &mut kernel, start);
    let said = log.take();
    assert!(said.contains("balanced nevertheless") && said.contains("lb_optouts"), "{said}");
    let mut said_later = |pauses| {
        left_alone.repeat(&mut kernel, start + PAUSE * pauses);
        log.take()
    };
    assert_eq!([said_later(1), said_later(2)], ["", ""]);
    let said = said_later(3);
    assert!(said.contains("left alone again"), "{said}");
    assert_eq!(said_later(4), "");
    // Another set is another matter.
    kernel.refusals = 2;
    for cookie in [8, 9] {
        left_alone.set(set(&[cookie]), &mut kernel, start);
        assert!(log.take().contains("balanced nevertheless"));
    }
    left_alone.set(set(&[]), &mut kernel, start);
    assert!(log.take().contains("left alone again"));
}

#[test]
fn the_owner_repeats_it_though_nothing_reaches_it() {
    let (kernel, asked) = Kernel::new(1);
    let (sender, messages) = channel();
    let owner = thread::spawn(move || {
        let sizes = Sizes::new(8, 16);
        let tables = Memory::new(sizes);
        let publisher = Publisher::new(tables, Manual::default(), sizes, Ids::default());
        let core = Core::new(Model::new(Options::default()), publisher);
        Owner::new(core, kernel, messages, Metrics::new()).run(|_| Ok(())).unwrap();
    });
    let start = Instant::now();
    sender.send(Message::OptOuts(set(&[7]))).unwrap();
    for _ in 0..2 {
        assert_eq!(asked.recv_timeout(AT_MOST), Ok(set(&[7])));
    }
    assert!(start.elapsed() >= PAUSE, "it does nothing else");
    sender.send(Message::Stop("the test ends")).unwrap();
    owner.join().unwrap();
    assert_eq!(asked.try_iter().next(), None);
}
