//! What outlives a generation of tables: the origins of sockets, the affinity of clients, and the ids
//! that both name.
//!
//! All are found in the pin directory of the generation before. What has another shape there is
//! left alone, and made anew. No id may be given again that they may still name.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use aya::maps::{MapInfo, MapType};
use lb_common::{
    Origin, UdpOrigins,
    layout::{Affinity, AffinityKey},
};

use super::{
    attach::is_half_replaced,
    inspect::{InspectError, Inspector, Location},
};
use crate::publish::{Family, Ids, Sizes, UsedUp};

/// The maps that are carried over, with the shape that they must have. The size counts for the
/// affinity alone: socket storage has none.
const CARRIED: [(&str, MapType, usize, usize); 3] = [
    ("lb_affinity", MapType::LruHash, size_of::<AffinityKey>(), size_of::<Affinity>()),
    ("lb_origins", MapType::SkStorage, size_of::<u32>(), size_of::<Origin>()),
    ("lb_udp_origins", MapType::SkStorage, size_of::<u32>(), size_of::<UdpOrigins>()),
];

/// The pins in `directory` that can be used again. aya would reuse a map of another shape without a
/// word.
pub(super) fn compatible(directory: &Path, affinity: u32) -> Vec<(&'static str, PathBuf)> {
    let pins = CARRIED.into_iter().filter_map(|(name, kind, key, value)| {
        let path = directory.join(name);
        let info = MapInfo::from_pin(&path).ok()?;
        let entries = if kind == MapType::LruHash { affinity } else { info.max_entries() };
        let same = info.map_type().ok() == Some(kind)
            && info.key_size() as usize == key
            && info.value_size() as usize == value
            && info.max_entries() == entries;
        if !same {
            tracing::warn!(
                map = name,
                "the map of the agent before has another shape or size: it is made anew"
            );
        }
        same.then_some((name, path))
    });
    pins.collect()
}

/// The sizes of the tables in a pin directory, if they are there.
pub(crate) fn sizes(directory: &Path) -> Option<Sizes> {
    let entries = |name| MapInfo::from_pin(directory.join(name)).ok().map(|it| it.max_entries());
    Some(Sizes::new(entries("lb_frontends4")?, entries("lb_backends4")?))
}

/// Why nothing is carried over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarryError {
    /// The tables of the generation before cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// There are not enough ids left.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// The pins are not those of one generation.
    #[error("an agent was killed while it took over, so the pins are of two generations")]
    HalfReplaced,
}

/// The ids that the tables in a pin directory give to Service ports and backends.
pub(crate) fn ids(directory: &Path) -> Result<Ids, CarryError> {
    if is_half_replaced(directory) {
        return Err(CarryError::HalfReplaced);
    }
    let location = Location { ids: HashMap::new(), pins: Some(directory.to_owned()) };
    let tables = Inspector::open(&location)?;
    // The counters last: what was given meanwhile lies below them.
    let frontends = tables.frontends()?;
    let services = frontends.iter().filter(|frontend| !frontend.name.is_empty()).map(|frontend| {
        (Family::of(&frontend.address), frontend.name.as_str().into(), frontend.id)
    });
    let backends = frontends.iter().flat_map(|frontend| {
        frontend.backends.iter().map(|backend| (frontend.id, backend.address, backend.id))
    });
    Ok(Ids::carried_over(tables.next_ids(), services, backends)?)
}
