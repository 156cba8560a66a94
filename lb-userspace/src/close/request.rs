//! What is asked for: which backends no longer serve, so that sockets connected to them are stale.
//!
//! Requests that wait are added up here, so that one pass over the sockets answers all of them. No
//! request may mean a socket that was sent to its backend after it was made.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{TCP, stale::Stale};

/// Asks for sockets to be closed.
///
/// By then a grace period must have passed since the backends left the tables: a program that still
/// saw them there could connect one more socket after the pass that would have closed it.
///
/// A pass may come later than it was asked for, when a backend serves (again) that did not then. So
/// each request names the id that the next backend would have got: backends never get an id twice, and
/// a socket that was sent to one with this id or a later one is not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Close what is connected to these.
    Gone(Vec<Gone>),
    /// Close what is connected to anything else than these. After a restart, this finds what went
    /// while no agent ran. It relies on service ids that were carried over; where they were not, it
    /// would close every socket.
    AllBut {
        /// Service id and address of each backend that serves.
        serving: HashSet<(u32, SocketAddr)>,
        /// No backend had this id yet, nor a later one.
        before: u32,
        /// Whether TCP sockets are meant too, beside UDP sockets.
        tcp: bool,
    },
}

/// A backend that no longer serves a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gone {
    /// The service port's id, as in [`lb_common::layout::Origin::service`].
    pub service: u32,
    /// Where it served.
    pub backend: SocketAddr,
    /// No backend had this id yet, nor a later one, when it stopped.
    pub before: u32,
}

/// A service port's id, and a backend's address and port. IPv6 scopes and flow labels, which
/// `SocketAddr` compares, mean nothing here.
type Key = (u32, IpAddr, u16);

/// All requests that wait, as one question to each socket's origin.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// With the least id that is not meant.
    gone: FxHashMap<Key, u32>,
    all_but: Vec<AllBut>,
}

#[derive(Debug)]
struct AllBut {
    serving: FxHashSet<Key>,
    before: u32,
    tcp: bool,
}

impl Wanted {
    pub(super) fn add(&mut self, request: Request) {
        match request {
            Request::Gone(gone) => {
                for Gone { service, backend, before } in gone {
                    self.add_gone(key(service, backend), before);
                }
            }
            Request::AllBut { serving, before, tcp } => {
                let serving =
                    serving.into_iter().map(|(service, backend)| key(service, backend)).collect();
                self.all_but.push(AllBut { serving, before, tcp });
            }
        }
    }

    /// Adds what another one asks for.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, before) in other.gone {
            self.add_gone(key, before);
        }
        self.all_but.extend(other.all_but);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.all_but.is_empty()
    }

    /// Whether the backend that this socket was sent to no longer serves.
    pub(super) fn means(&self, stale: &Stale) -> bool {
        let key = (stale.service, stale.backend.ip(), stale.backend.port());
        self.gone.get(&key).is_some_and(|before| stale.backend_id < *before)
            || self.all_but.iter().any(|all_but| {
                (all_but.tcp || stale.protocol != TCP)
                    && stale.backend_id < all_but.before
                    && !all_but.serving.contains(&key)
            })
    }

    /// Of a backend that went twice, the later time includes the earlier one.
    fn add_gone(&mut self, key: Key, before: u32) {
        let known = self.gone.entry(key).or_insert(before);
        *known = (*known).max(before);
    }
}

fn key(service: u32, backend: SocketAddr) -> Key {
    (service, backend.ip().to_canonical(), backend.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::{UDP, stale::tests::stale};

    fn gone(service: u32, backend: &str) -> Gone {
        Gone { service, backend: backend.parse().unwrap(), before: u32::MAX }
    }

    #[test]
    fn point_22_a_socket_is_stale_if_both_its_service_and_its_backend_match() {
        let mut wanted = Wanted::default();
        assert!(wanted.is_empty());
        wanted.add(Request::Gone(vec![gone(1, "10.0.0.1:53"), gone(2, "[fd00::1]:53")]));
        wanted.add(Request::Gone(vec![gone(3, "10.0.0.3:53")]));
        assert!(!wanted.is_empty());
        let cases = [
            (1, "10.0.0.1:53", true),
            (1, "10.0.0.1:54", false),
            (1, "10.0.0.2:53", false),
            (2, "10.0.0.1:53", false),
            (2, "[fd00::1]:53", true),
            (1, "[fd00::1]:53", false),
            (3, "10.0.0.3:53", true),
        ];
        for (service, backend, expected) in cases {
            let asked = stale(7, UDP, service, backend);
            assert_eq!(wanted.means(&asked), expected, "{service}, {backend}");
        }
    }

    #[test]
    fn point_22_after_a_restart_whatever_does_not_serve_is_stale() {
        let serving = HashSet::from([(1, "10.0.0.1:53".parse().unwrap())]);
        let mut wanted = Wanted::default();
        wanted.add(Request::AllBut { serving: serving.clone(), before: 901, tcp: false });
        assert!(!wanted.is_empty());
        assert!(!wanted.means(&stale(7, UDP, 1, "10.0.0.1:53")));
        assert!(wanted.means(&stale(7, UDP, 1, "10.0.0.2:53")));
        assert!(wanted.means(&stale(7, UDP, 2, "10.0.0.1:53")));
        assert!(!wanted.means(&stale(7, TCP, 2, "10.0.0.1:53")), "TCP was not asked for");
        let mut with_tcp = Wanted::default();
        with_tcp.add(Request::AllBut { serving, before: 901, tcp: true });
        assert!(with_tcp.means(&stale(7, TCP, 2, "10.0.0.1:53")));
    }

    #[test]
    fn point_22_a_backend_that_came_back_since_it_was_asked_for_is_not_meant() {
        let asked = stale(7, UDP, 1, "10.0.0.1:53");
        assert_eq!(asked.backend_id, 900);
        for (before, expected) in [(900, false), (901, true)] {
            let mut wanted = Wanted::default();
            wanted.add(Request::Gone(vec![Gone { before, ..gone(1, "10.0.0.1:53") }]));
            assert_eq!(wanted.means(&asked), expected, "{before}");
            let mut wanted = Wanted::default();
            wanted.add(Request::AllBut { serving: HashSet::new(), before, tcp: false });
            assert_eq!(wanted.means(&asked), expected, "{before}");
        }
        let mut twice = Wanted::default();
        for before in [901, 5] {
            twice.add(Request::Gone(vec![Gone { before, ..gone(1, "10.0.0.1:53") }]));
        }
        assert!(twice.means(&asked));
    }

    #[test]
    fn addresses_are_compared_without_scope_and_however_they_are_written() {
        let mut wanted = Wanted::default();
        wanted.add(Request::Gone(vec![gone(1, "[::ffff:10.0.0.1]:53"), gone(2, "[fd00::1%4]:53")]));
        assert!(wanted.means(&stale(7, UDP, 1, "10.0.0.1:53")));
        assert!(wanted.means(&stale(7, UDP, 2, "[fd00::1]:53")));
    }

    #[test]
    fn what_is_merged_means_what_both_mean() {
        let mut wanted = Wanted::default();
        wanted.add(Request::Gone(vec![gone(1, "10.0.0.1:53")]));
        let mut other = Wanted::default();
        other.add(Request::AllBut { serving: HashSet::new(), before: 901, tcp: false });
        assert!(!wanted.means(&stale(7, UDP, 2, "10.0.0.1:53")));
        wanted.merge(other);
        assert!(wanted.means(&stale(7, UDP, 2, "10.0.0.1:53")));
        assert!(wanted.means(&stale(7, TCP, 1, "10.0.0.1:53")));
    }
}
