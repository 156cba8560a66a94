//! Which Services use an address, so that a change of one finds the others whose frontends it allows
//! or forbids.
//!
//! This module must never know ports: an address is a ClusterIP as a whole.

use std::{net::IpAddr, sync::Arc};

use rustc_hash::FxHashMap;

/// What a Service has an address for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The cluster gave it, whether the Service is served or not.
    ClusterIp,
    /// The Service names it, as an external IP or a load balancer's address.
    Named,
}

/// The Services of each address.
#[derive(Debug, Default)]
pub(super) struct Uses(FxHashMap<IpAddr, Vec<(Use, Arc<str>)>>);

impl Uses {
    /// Notes a use; the same one more than once counts as often.
    pub(super) fn add(&mut self, address: IpAddr, what: Use, service: &Arc<str>) {
        let users = self.0.entry(address).or_default();
        users.reserve_exact(1);
        users.push((what, service.clone()));
    }

    /// Takes one use back.
    pub(super) fn remove(&mut self, address: IpAddr, what: Use, service: &str) {
        let Some(users) = self.0.get_mut(&address) else { return };
        if let Some(index) = users.iter().position(|user| user.0 == what && *user.1 == *service) {
            users.swap_remove(index);
        }
        if users.is_empty() {
            self.0.remove(&address);
        }
    }

    /// The Services that use an address so.
    pub(super) fn users(&self, address: IpAddr, what: Use) -> impl Iterator<Item = &Arc<str>> {
        let users = self.0.get(&address).into_iter().flatten();
        users.filter(move |user| user.0 == what).map(|user| &user.1)
    }

    /// Whether it is the ClusterIP of any Service.
    pub(super) fn is_cluster_ip(&self, address: IpAddr) -> bool {
        self.users(address, Use::ClusterIp).next().is_some()
    }

    /// How many addresses are used.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
