//! How much the tables hold, and what is said when that is not enough.
//!
//! No failure may leave an operator to guess: it names the frontend, and the flag to raise if there
//! is one.

use std::sync::Arc;

use thiserror::Error;

use super::StoreError;
use crate::model::FrontendKey;

/// How many entries each table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Frontends of both families together, set by `--max-frontends`: entries of each of
    /// `lb_frontends4` and `lb_frontends6`, so that either family can have them all.
    pub frontends: u32,
    /// Slots of each family, and entries of `lb_names`. A quarter more than the frontends: the slots
    /// of deleted frontends stay out of use for a grace period.
    pub services: u32,
    /// Entries of each of `lb_backends4` and `lb_backends6`, set by `--max-backends`.
    pub backends: u32,
}

impl Sizes {
    /// The sizes for so many frontends and backends.
    pub fn new(frontends: u32, backends: u32) -> Self {
        Self { frontends, services: frontends.saturating_add((frontends / 4).max(16)), backends }
    }

    /// Entries of `lb_services`, in which every other slot is for IPv6.
    pub fn slots(self) -> u32 {
        self.services.saturating_mul(2)
    }
}

/// Why a frontend could not be brought to its wanted state. It keeps the state it has.
#[derive(Debug, Error)]
pub enum Reason {
    /// A table has no room.
    #[error(
        "{table} is full: {needed} free in a row needed, {longest} there ({free} of {capacity} \
         free in all); restart with a larger {flag}"
    )]
    Full {
        /// The table's name.
        table: &'static str,
        /// The flag that sizes it.
        flag: &'static str,
        /// Consecutive entries that were needed.
        needed: u32,
        /// The longest run of free entries.
        longest: u32,
        /// Free entries.
        free: u32,
        /// All entries.
        capacity: u32,
    },
    /// The kernel refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A frontend that could not be brought to its wanted state.
#[derive(Debug, Error)]
#[error("{name} ({key})")]
pub struct Failure {
    /// Which frontend.
    pub key: FrontendKey,
    /// Its name.
    pub name: Arc<str>,
    /// Why.
    pub source: Reason,
}
