//! Finds a backend in a range by its id.
//!
//! Must end in a bounded number of steps whatever the tables hold: the kernel's verifier counts.

use super::Tables;
use crate::{family::Family, layout::Range};

/// Steps of a bisection: enough for 2²⁸ - 1 entries, and no table of backends has as many.
const STEPS: u32 = 28;

/// Where the backend `id` stands in a range, whose backends are sorted by id. `hint` is looked at
/// first: a backend moves only when another one before it goes.
#[inline(always)]
pub(super) fn position_of<F: Family, T: Tables<F>>(
    tables: &T,
    range: Range,
    id: u32,
    hint: u32,
) -> Option<u32> {
    if hint < range.count
        && let Some(backend) = tables.backend(range.first.wrapping_add(hint))
        && F::id(&backend) == id
    {
        return Some(hint);
    }
    let (mut low, mut high) = (0, range.count);
    for _ in 0..STEPS {
        if low >= high {
            return None;
        }
        let middle = low + ((high - low) >> 1);
        let found = F::id(&tables.backend(range.first.wrapping_add(middle))?);
        if found == id {
            return Some(middle);
        }
        if found < id {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    None
}
