//! Who has which frontend, and what the caller was last told about it.
//!
//! This module must never compute a frontend's backends: it is handed them.

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Changes, Frontend, FrontendChange, FrontendKey, notice::Notice};

/// A Service that wants a frontend. The least one has it: the oldest, then the first by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// As in [`super::service::Spec`].
    pub(super) created: i64,
    /// `namespace/name`
    pub(super) service: Arc<str>,
    /// Which of the Service's declared frontends.
    pub(super) index: usize,
}

/// One frontend.
#[derive(Debug, Default)]
struct Place {
    /// Sorted; never more than one by the same Service.
    claims: Vec<Claim>,
    /// The claimants when notices were last given, the winner first.
    reported: Box<[Arc<str>]>,
    /// What the caller was last told. A whole copy costs 6 bytes a backend, and unlike a digest
    /// can never take a change for none.
    told: Option<Frontend>,
}

/// Every frontend that is claimed, or that the caller still believes to exist.
#[derive(Debug, Default)]
pub(super) struct Claims {
    places: FxHashMap<FrontendKey, Place>,
}

impl Claims {
    pub(super) fn add(&mut self, key: FrontendKey, claim: Claim) {
        let claims = &mut self.places.entry(key).or_default().claims;
        let position = claims.partition_point(|other| *other < claim);
        claims.reserve_exact(1);
        claims.insert(position, claim);
    }

    pub(super) fn remove(&mut self, key: FrontendKey, service: &str) {
        if let Some(place) = self.places.get_mut(&key) {
            place.claims.retain(|claim| *claim.service != *service);
        }
    }

    /// How many frontends are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The claim that has the frontend.
    pub(super) fn winner(&self, key: FrontendKey) -> Option<&Claim> {
        self.places.get(&key)?.claims.first()
    }

    /// Adds to `changes` what the caller does not know yet, given the frontend as it is now.
    pub(super) fn settle(
        &mut self,
        key: FrontendKey,
        now: Option<Frontend>,
        changes: &mut Changes,
    ) {
        let Entry::Occupied(mut entry) = self.places.entry(key) else { return };
        let place = entry.get_mut();
        place.report(key, &mut changes.notices);
        if place.told != now {
            place.told.clone_from(&now);
            changes.frontends.push(FrontendChange { key, state: now });
        }
        if place.claims.is_empty() {
            entry.remove();
        }
    }
}

impl Place {
    /// Gives a notice for each loser that is new, or that has lost to another Service.
    fn report(&mut self, key: FrontendKey, notices: &mut Vec<Notice>) {
        let names = || self.claims.iter().map(|claim| &claim.service);
        if self.claims.len() < 2 || names().eq(self.reported.iter()) {
            if self.claims.len() < 2 {
                self.reported = Box::default();
            }
            return;
        }
        let mut losers = names();
        let Some(winner) = losers.next() else { return };
        let same_winner = self.reported.first() == Some(winner);
        for loser in losers {
            if !(same_winner && self.reported.contains(loser)) {
                notices.push(Notice::Claim {
                    frontend: key,
                    winner: winner.clone(),
                    loser: loser.clone(),
                });
            }
        }
        self.reported = names().cloned().collect();
    }
}
