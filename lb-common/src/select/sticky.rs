//! Session affinity: a client stays with its backend until it has not connected for a while.
//!
//! Must never keep a client with a backend that is not in the range.

use super::{Client, Tables, find::position_of, scale};
use crate::{
    family::Family,
    layout::{Affinity, AffinityKey, Range},
};

const NANOSECONDS: u64 = 1_000_000_000;

/// The position of the backend that the client is to have. Under memory pressure the oldest clients
/// are forgotten, and get any backend.
#[inline(always)]
pub(super) fn position<F: Family, T: Tables<F>, C: Client>(
    tables: &T,
    client: &C,
    range: Range,
    service: u32,
    seconds: u32,
) -> u32 {
    let key = AffinityKey { client: client.netns(), service, reserved: 0 };
    let now = client.now();
    let fresh = scale(client.random(), range.count);
    let id = |position| {
        tables.backend(range.first.wrapping_add(position)).map_or(0, |backend| F::id(&backend))
    };
    let mut chosen = fresh;
    let judge = |known: Affinity| {
        // Another CPU may have noted a later time than this one has read.
        let idle = now.saturating_sub(known.used);
        let stays = if idle <= u64::from(seconds) * NANOSECONDS {
            position_of::<F, T>(tables, range, known.backend, known.hint)
        } else {
            None
        };
        chosen = stays.unwrap_or(fresh);
        let backend = if stays.is_some() { known.backend } else { id(fresh) };
        Some(Affinity { used: now, backend, hint: chosen })
    };
    if client.judge_affinity(&key, judge).is_none() {
        let value = Affinity { used: now, backend: id(fresh), hint: fresh };
        if !client.remember(&key, &value) {
            // Another connect of this client was faster, and decides; or there is no room.
            let follow = |known: Affinity| {
                if let Some(position) =
                    position_of::<F, T>(tables, range, known.backend, known.hint)
                {
                    chosen = position;
                }
                None
            };
            client.judge_affinity(&key, follow);
        }
    }
    chosen
}
