//! `lb_counters`: how often the programs decided what.
//!
//! Nothing here may write to them: programs do so at any time.

use aya::maps::{Array, MapData, MapError};
use lb_common::Counter;

/// The counters of one generation of tables: 64 bits each, in the machine's byte order. They are read
/// by BPF_MAP_LOOKUP_ELEM (Linux 3.18).
pub struct Decisions(Array<MapData, u64>);

impl Decisions {
    pub(super) fn new(map: MapData) -> Result<Self, MapError> {
        Ok(Self(Array::try_from(aya::maps::Map::Array(map))?))
    }

    /// What was counted under this reason since the map was made, on all processors.
    ///
    /// # Errors
    /// With what the kernel says to the lookup.
    pub fn count(&self, counter: Counter) -> Result<u64, MapError> {
        self.0.get(&(counter as u32), 0)
    }
}
