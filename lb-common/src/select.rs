//! Which backend a connect goes to: the decision that runs in the kernel, and in every test.
//!
//! The order of the loads is the protocol between a reader and the agent that publishes:
//!
//! 1. The frontend's value, one 64-bit load, checked against the key's tag.
//! 2. The service's range, one 64-bit load that sees everything written before the agent's
//!    release store of it.
//! 3. One backend inside that range, which stays as it is until a grace period has passed since
//!    the range was replaced.
//!
//! A reader that runs under RCU therefore sees the whole old set or the whole new set. This
//! module must never keep anything from one call to the next, nor load a word twice.

use crate::layout::{Backend4, FrontendKey4, FrontendValue, Range};

/// How often a frontend is looked up while its tag does not match. One retry is almost always
/// enough: a mismatch means that the key was deleted, and its element reused, in the few
/// nanoseconds between the lookup and the load.
pub const LOOKUPS: u32 = 4;

/// Read access to the tables, as a BPF program has it.
///
/// Implementations must make each load whole (never two halves of different stores), and
/// [`Tables::range`] must order the loads that follow after it: an acquire load, or a load on whose
/// value the following address depends.
pub trait Tables {
    /// The value that the key's hash element holds now, or `None` without such a key.
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue>;
    /// The range of a service, or `None` if `slot` lies outside of the table.
    fn range(&self, slot: u32) -> Option<Range>;
    /// A backend, or `None` if `index` lies outside of the table.
    fn backend(&self, index: u32) -> Option<Backend4>;
    /// 32 random bits.
    fn random(&self) -> u32;
}

/// What is to become of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The destination is no frontend: leave it alone.
    NotAFrontend,
    /// Rewrite the destination to this backend.
    Backend(Backend4),
    /// The frontend has no eligible backend: refuse.
    NoBackend,
    /// The hash element changed hands at each of [`LOOKUPS`] attempts: leave the connect alone.
    Unsettled,
    /// A slot or index lies outside of its table: refuse.
    Corrupt,
}

/// Chooses a backend for a connect to `key`, each with the same chance.
#[inline(always)]
pub fn select<T: Tables>(tables: &T, key: &FrontendKey4) -> Selection {
    let tag = key.tag();
    for _ in 0..LOOKUPS {
        let Some(value) = tables.frontend(key) else {
            return Selection::NotAFrontend;
        };
        if value.tag == tag {
            return select_in(tables, value.slot);
        }
    }
    Selection::Unsettled
}

#[inline(always)]
fn select_in<T: Tables>(tables: &T, slot: u32) -> Selection {
    let Some(range) = tables.range(slot) else {
        return Selection::Corrupt;
    };
    if range.count == 0 {
        return if range.first == Range::GONE.first {
            Selection::NotAFrontend
        } else {
            Selection::NoBackend
        };
    }
    let offset = scale(tables.random(), range.count);
    match tables.backend(range.first.wrapping_add(offset)) {
        Some(backend) => Selection::Backend(backend),
        None => Selection::Corrupt,
    }
}

/// Maps 32 random bits onto `0..count` without a division. The bias is below `count` / 2³².
#[inline(always)]
const fn scale(random: u32, count: u32) -> u32 {
    ((random as u64 * count as u64) >> 32) as u32
}
