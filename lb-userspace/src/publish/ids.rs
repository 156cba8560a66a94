//! The ids of Service ports and backends, and those that the generation of tables before gave.
//!
//! What outlives a generation (a client's affinity, a socket's origin) names Service ports and
//! backends by id. So a port of the same name keeps its id across generations, as does each backend
//! of the same address. Must never give an id twice.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;
use thiserror::Error;

use super::{Family, PerFamily};
use crate::plan::placement::take_id;

/// More than half of all ids are used up: the next generation has to number anew
/// ([`Ids::default`]), and what names Service ports and backends by id must not be carried over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "more than half of the 2³² ids are used up, by {services} Service ports and {backends} \
     backends: ids begin anew, and clients with session affinity choose anew, once"
)]
pub struct UsedUp {
    /// Ids of Service ports that were given.
    pub services: u32,
    /// Ids of backends that were given.
    pub backends: u32,
}

/// The ids to come, which are the words `next_service` and `next_backend` of `lb_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) service: u32,
    pub(super) backend: u32,
}

/// Gives ids. The default is for a first generation.
#[derive(Debug)]
pub struct Ids {
    pub(super) next: Next,
    /// Service ports of the generation before, by name.
    services: PerFamily<FxHashMap<Box<str>, u32>>,
    /// Service id, address and id of the backends of the generation before; sorted.
    backends: Vec<(u32, SocketAddr, u32)>,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            next: Next { service: 1, backend: 1 },
            services: PerFamily::default(),
            backends: Vec::new(),
        }
    }
}

impl Ids {
    /// Goes on where a generation of tables stands: `next` are its next ids of Service ports and
    /// backends, from `lb_config`; `services` its Service ports, by name; `backends` their backends,
    /// as id of the Service port, address, and id. Both may name the same one again and again.
    pub fn carried_over(
        next: (u32, u32),
        services: impl IntoIterator<Item = (Family, Box<str>, u32)>,
        backends: impl IntoIterator<Item = (u32, SocketAddr, u32)>,
    ) -> Result<Self, UsedUp> {
        const HALF: u32 = u32::MAX / 2;
        let (mut service, mut backend) = (next.0.max(1), next.1.max(1));
        // Beyond what is in use too, whatever `next` says: no id may be given twice.
        let mut known = PerFamily::<FxHashMap<_, _>>::default();
        for (family, name, id) in services {
            known[family].insert(name, id);
            service = service.max(id.saturating_add(1));
        }
        let mut backends: Vec<_> = backends.into_iter().collect();
        backend = backends.iter().fold(backend, |next, known| next.max(known.2.saturating_add(1)));
        if service > HALF || backend > HALF {
            return Err(UsedUp { services: service - 1, backends: backend - 1 });
        }
        backends.sort_unstable();
        // One id for an address, whatever was read.
        backends.dedup_by_key(|(service, address, _)| (*service, *address));
        backends.shrink_to_fit();
        Ok(Self { next: Next { service, backend }, services: known, backends })
    }

    /// The id of a Service port that has none in this generation.
    pub(super) fn service(&mut self, family: Family, name: &str) -> u32 {
        match self.services[family].get(name) {
            Some(id) => *id,
            None => take_id(&mut self.next.service),
        }
    }

    /// The id that the generation before gave to a backend.
    pub(super) fn backend(&self, service: u32, address: SocketAddr) -> Option<u32> {
        let found =
            self.backends.binary_search_by_key(&(service, address), |known| (known.0, known.1));
        found.ok().map(|index| self.backends[index].2)
    }

    /// The id that the generation before gave to a Service port.
    pub(super) fn earlier_service(&self, family: Family, name: &str) -> Option<u32> {
        self.services[family].get(name).copied()
    }

    /// Forgets the backends of the generation before. One that comes back from now on gets another
    /// id, by which it is told from the one that went.
    pub(super) fn forget_backends(&mut self) {
        self.backends = Vec::new();
    }

    /// Forgets its Service ports.
    pub(super) fn forget_services(&mut self) {
        self.services = PerFamily::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_anew_only_when_half_are_used_up() {
        let none = || std::iter::empty::<(Family, Box<str>, u32)>();
        let ids = |next| Ids::carried_over(next, none(), []);
        assert_eq!(ids((0, 0)).unwrap().next, Next { service: 1, backend: 1 });
        assert_eq!(ids((5, 9)).unwrap().next, Next { service: 5, backend: 9 });
        for next in [(1 << 31, 9), (5, 1 << 31)] {
            let error = ids(next).unwrap_err();
            assert_eq!((error.services + 1, error.backends + 1), next);
        }
    }

    #[test]
    fn what_was_read_twice_is_known_once() {
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let services = [(Family::V4, "a/b/TCP".into(), 3), (Family::V6, "a/b/TCP".into(), 4)];
        let backends = [(3, address, 7), (4, address, 8), (3, address, 7)];
        let mut ids = Ids::carried_over((0, 9), services, backends).unwrap();
        assert_eq!(ids.service(Family::V4, "a/b/TCP"), 3);
        assert_eq!(ids.service(Family::V6, "a/b/TCP"), 4);
        assert_eq!(ids.service(Family::V6, "a/c/TCP"), 5);
        assert_eq!((ids.backend(3, address), ids.backend(4, address)), (Some(7), Some(8)));
        assert_eq!(ids.backend(5, address), None);
        ids.forget_backends();
        assert_eq!(
            (ids.earlier_service(Family::V4, "a/b/TCP"), ids.backend(3, address)),
            (Some(3), None)
        );
        ids.forget_services();
        assert_eq!(ids.service(Family::V4, "a/b/TCP"), 6);
    }
}
