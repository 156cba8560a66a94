//! Which namespaces were found to be whose.
//!
//! A namespace outlives its processes if something pins it, and a search may see nothing of it then:
//! between an init container and the application, or at a restart, where the container runtime has
//! no container of its own in each Pod. So what was found of a Pod counts until a namespace is found
//! that was not known to have its address. The kernel never gives a cookie twice, so one that outlived
//! its namespace matches nothing.
//!
//! This module must never keep anything of a Pod for longer than it opts out, with the same address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::registry::{PodName, Sought, Wanted};

/// What was found last of each Pod that opts out.
#[derive(Default)]
pub(super) struct Known {
    pods: BTreeMap<PodName, Place>,
}

/// Where a Pod was found.
struct Place {
    uid: Box<str>,
    cookies: BTreeMap<IpAddr, BTreeSet<u64>>,
}

impl Known {
    /// Forgets all Pods and addresses but these.
    pub(super) fn retain(&mut self, wanted: &Wanted) {
        self.pods.retain(|pod, place| {
            let same = wanted.get(pod).filter(|sought| sought.uid == place.uid);
            let Some(Sought { addresses, .. }) = same else { return false };
            place.cookies.retain(|address, _| addresses.contains(address));
            true
        });
    }

    /// Takes in what a search found.
    pub(super) fn learn(&mut self, wanted: &Wanted, found: &BTreeMap<IpAddr, BTreeSet<u64>>) {
        for (pod, Sought { uid, addresses }) in wanted {
            for address in addresses {
                let Some(cookies) = found.get(address) else { continue };
                let place = self
                    .pods
                    .entry(pod.clone())
                    .or_insert_with(|| Place { uid: uid.clone(), cookies: BTreeMap::new() });
                let before = place.cookies.entry(*address).or_default();
                // Fewer than before: the others may be there unseen.
                if !cookies.is_subset(before) {
                    before.clone_from(cookies);
                }
            }
        }
    }

    /// Whether anything is known of this Pod.
    pub(super) fn has(&self, pod: &PodName) -> bool {
        self.pods.get(pod).is_some_and(|place| !place.cookies.is_empty())
    }

    /// The cookies of all namespaces.
    pub(super) fn cookies(&self) -> BTreeSet<u64> {
        let all = self.pods.values().flat_map(|place| place.cookies.values());
        all.flatten().copied().collect()
    }
}
