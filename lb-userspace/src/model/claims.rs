//! Who has which frontend, and what the caller was last told about it.
//!
//! This module must never compute a frontend, nor judge whether a claim is allowed: it is told both.

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    Changes, Frontend, FrontendChange, FrontendKey, FrontendKind, Protocol, notice::Notice,
};

/// A Service that wants a frontend. The least claim that is allowed has it: a ClusterIP's, then the
/// oldest Service's, then the first by name; within one Service a load balancer's, whose source
/// ranges bind other kinds of the same address too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    is_no_cluster_ip: bool,
    /// As in [`super::service::Spec`].
    created: i64,
    /// `namespace/name`
    pub(super) service: Arc<str>,
    pub(super) kind: FrontendKind,
    /// Which of the Service's ports.
    pub(super) port: usize,
}

impl Claim {
    pub(super) fn new(service: &Arc<str>, created: i64, kind: FrontendKind, port: usize) -> Self {
        let is_no_cluster_ip = kind != FrontendKind::ClusterIp;
        Self { is_no_cluster_ip, created, service: service.clone(), kind, port }
    }
}

/// One frontend.
#[derive(Debug, Default)]
struct Place {
    /// Sorted.
    claims: Vec<Claim>,
    /// The claimants when notices were last given, the winner first.
    reported: Box<[Arc<str>]>,
    /// What the caller was last told. Unlike a digest it can never take a change for none; its
    /// backends are shared with the Service.
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

    /// Removes all claims of a Service.
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

    /// Adds to `changes` what the caller does not know yet. `allowed` says whether a claim counts,
    /// `frontend` what its frontend is now.
    pub(super) fn settle(
        &mut self,
        key: FrontendKey,
        allowed: impl Fn(&Claim) -> bool,
        frontend: impl FnOnce(&Claim) -> Option<Frontend>,
        changes: &mut Changes,
    ) {
        let Entry::Occupied(mut entry) = self.places.entry(key) else { return };
        let place = entry.get_mut();
        let now = place.claims.iter().find(|claim| allowed(claim)).and_then(frontend);
        place.report(key, allowed, &mut changes.notices);
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
    fn report(
        &mut self,
        key: FrontendKey,
        allowed: impl Fn(&Claim) -> bool,
        notices: &mut Vec<Notice>,
    ) {
        let mut names: Vec<&Arc<str>> = Vec::new();
        // A single claim is the rule and loses to none; one mark of an address is as good as many.
        if self.claims.len() > 1 && key.protocol != Protocol::Any {
            for claim in self.claims.iter().filter(|claim| allowed(claim)) {
                if !names.contains(&&claim.service) {
                    names.push(&claim.service);
                }
            }
        }
        let [winner, losers @ ..] = &names[..] else {
            self.reported = Box::default();
            return;
        };
        let same_winner = self.reported.first() == Some(*winner);
        for &loser in losers {
            if !(same_winner && self.reported.contains(loser)) {
                let (winner, loser) = ((*winner).clone(), loser.clone());
                notices.push(Notice::Claim { frontend: key, winner, loser });
            }
        }
        self.reported = names.into_iter().cloned().collect();
    }
}
