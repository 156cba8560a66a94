//! Reads the tables as any process can: what `socklb services` prints.
//!
//! Never from the agent's memory, so that it also works on the tables of an agent that is stopped,
//! and shows what connects see. It must never write.

mod view;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::AsFd as _,
    path::PathBuf,
};

use aya::maps::{self, Map, MapData, MapError, loaded_maps};
use lb_common::{
    Backend4, Backend6, FrontendKey4, FrontendKey6, FrontendValue, Range, Service,
    layout::{Config, HOST_ONLY, NAME_LEN},
};
use thiserror::Error;

use self::view::Key;
pub use self::view::{BackendView, FrontendView};
use super::mapped::MappedArray;

/// The tables could not be read.
#[derive(Debug, Error)]
pub enum InspectError {
    /// No map of that name is loaded.
    #[error("no map named {name} is loaded: is the agent running, and are you root?")]
    NotLoaded {
        /// The map.
        name: &'static str,
    },
    /// Several maps of that name are loaded.
    #[error(
        "maps {ids:?} are all named {name}: name an agent's pin directory with --pin, or maps with \
         --map NAME=ID"
    )]
    Ambiguous {
        /// The map.
        name: &'static str,
        /// The ids of those that are loaded.
        ids: Vec<u32>,
    },
    /// The id that was named is no map's.
    #[error("cannot open {name} by --map {name}={id}: `bpftool map list` shows the ids")]
    Id {
        /// The map.
        name: &'static str,
        /// What was named.
        id: u32,
        /// Why.
        source: MapError,
    },
    /// A map is not what socklb makes.
    #[error("{name} is not a table of this version of socklb")]
    Foreign {
        /// The map.
        name: &'static str,
    },
    /// A map could not be opened or read.
    #[error("cannot read {name}")]
    Map {
        /// The map.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// A service changed at every attempt to read it.
    #[error("slot {slot} changed {ATTEMPTS} times while it was read: try again")]
    Busy {
        /// Index into `lb_services`.
        slot: u32,
    },
    /// A pin could not be opened.
    #[error(
        "cannot open {}: has an agent balanced with this pin directory, and are you root?",
        path.display()
    )]
    Pin {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: MapError,
    },
    /// An array could not be mapped into memory.
    #[error("cannot map {name} into memory")]
    Mmap {
        /// The map.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Where the tables are found.
#[derive(Debug, Clone, Default)]
pub struct Location {
    /// Maps by name and id: first choice.
    pub ids: HashMap<String, u32>,
    /// The directory of their pins: second choice. Without one, whatever is loaded under the
    /// tables' names.
    pub pins: Option<PathBuf>,
}

/// The tables that are read.
pub const TABLES: [&str; 7] = [
    "lb_frontends4",
    "lb_frontends6",
    "lb_services",
    "lb_backends4",
    "lb_backends6",
    "lb_names",
    "lb_config",
];

/// Open tables.
pub struct Inspector {
    frontends4: maps::HashMap<MapData, FrontendKey4, FrontendValue>,
    frontends6: maps::HashMap<MapData, FrontendKey6, FrontendValue>,
    names: maps::HashMap<MapData, u32, [u8; NAME_LEN]>,
    services: MappedArray<Service>,
    backends4: MappedArray<Backend4>,
    backends6: MappedArray<Backend6>,
    config: MappedArray<Config>,
}

/// How often a service is read again when its range changes meanwhile.
const ATTEMPTS: u32 = 100;

impl Inspector {
    /// Opens the tables.
    pub fn open(location: &Location) -> Result<Self, InspectError> {
        let hash = |name| Ok(Map::HashMap(open(location, name)?));
        Ok(Self {
            frontends4: typed("lb_frontends4", hash("lb_frontends4")?)?,
            frontends6: typed("lb_frontends6", hash("lb_frontends6")?)?,
            names: typed("lb_names", hash("lb_names")?)?,
            services: array(location, "lb_services")?,
            backends4: array(location, "lb_backends4")?,
            backends6: array(location, "lb_backends6")?,
            config: array(location, "lb_config")?,
        })
    }

    /// Every frontend that is not gone, IPv4 first, by address and port.
    pub fn frontends(&self) -> Result<Vec<FrontendView>, InspectError> {
        let names: HashMap<u32, [u8; NAME_LEN]> = self
            .names
            .iter()
            .collect::<Result<_, _>>()
            .map_err(|source| InspectError::Map { name: "lb_names", source })?;
        let backend4 = |index| {
            let Backend4 { address, port, id, .. } = self.backends4.read(index);
            BackendView { address: (address, port).into(), id }
        };
        let backend6 = |index| {
            let Backend6 { address, port, id, .. } = self.backends6.read(index);
            BackendView { address: (address, port).into(), id }
        };
        let len4 = self.backends4.len();
        let len6 = self.backends6.len();
        let mut views = self.family("lb_frontends4", &self.frontends4, &names, len4, backend4)?;
        views.extend(self.family("lb_frontends6", &self.frontends6, &names, len6, backend6)?);
        Ok(views)
    }

    /// The next ids of a Service port and of a backend: no smaller one may be given away.
    pub fn next_ids(&self) -> (u32, u32) {
        let Config { next_service, next_backend, .. } = self.config.read(0);
        (next_service, next_backend)
    }

    fn family<K: Key>(
        &self,
        name: &'static str,
        frontends: &maps::HashMap<MapData, K, FrontendValue>,
        names: &HashMap<u32, [u8; NAME_LEN]>,
        len: u32,
        backend: impl Fn(u32) -> BackendView,
    ) -> Result<Vec<FrontendView>, InspectError> {
        // By key: an iteration may meet one twice when another is deleted meanwhile.
        let mut views = BTreeMap::new();
        for entry in frontends.iter() {
            let (key, value) = entry.map_err(|source| InspectError::Map { name, source })?;
            let Some((service, backends)) = self.service(value.slot, len, &backend)? else {
                continue;
            };
            // A slot is given to another frontend only after its key was deleted.
            if frontends.get(&key, 0).ok() != Some(value) {
                continue;
            }
            // One that came since the names were read has its own by now.
            let name = names.get(&service.id).copied();
            let name = name.or_else(|| self.names.get(&service.id, 0).ok());
            let (address, port, number) = key.parts();
            let view = FrontendView {
                name: name.as_ref().map(view::name_of).unwrap_or_default(),
                address,
                port,
                protocol: view::protocol(number),
                slot: value.slot,
                id: service.id,
                affinity: service.affinity,
                host_only: service.flags & HOST_ONLY != 0,
                passed: service.range == Range::PASS,
                backends,
            };
            views.insert(key, view);
        }
        Ok(views.into_values().collect())
    }

    /// A service and its backends, or `None` if it is gone. This process is no RCU reader, so the
    /// block may be given to another service while it is read: the range is compared afterwards.
    fn service(
        &self,
        slot: u32,
        len: u32,
        backend: impl Fn(u32) -> BackendView,
    ) -> Result<Option<(Service, Vec<BackendView>)>, InspectError> {
        if slot >= self.services.len() {
            return Err(InspectError::Foreign { name: "lb_services" });
        }
        for _ in 0..ATTEMPTS {
            let word = self.services.word(slot);
            let range = Range::from_bits(word);
            if range == Range::GONE {
                return Ok(None);
            }
            let end = range.first.checked_add(range.count);
            if range.count > 0 && end.is_none_or(|end| end > len) {
                return Err(InspectError::Foreign { name: "lb_services" });
            }
            let service = self.services.read(slot);
            let backends = (0..range.count).map(|offset| backend(range.first + offset)).collect();
            if self.services.word(slot) == word && self.services.read(slot) == service {
                return Ok(Some((Service { range, ..service }, backends)));
            }
        }
        Err(InspectError::Busy { slot })
    }
}

fn typed<M>(name: &'static str, map: Map) -> Result<M, InspectError>
where
    M: TryFrom<Map, Error = MapError>,
{
    map.try_into().map_err(|source| InspectError::Map { name, source })
}

fn array<T: aya::Pod>(
    location: &Location,
    name: &'static str,
) -> Result<MappedArray<T>, InspectError> {
    let map = open(location, name)?;
    let info = map.info().map_err(|source| InspectError::Map { name, source })?;
    if info.value_size() as usize != size_of::<T>() {
        return Err(InspectError::Foreign { name });
    }
    MappedArray::new(map.fd().as_fd(), info.max_entries())
        .map_err(|source| InspectError::Mmap { name, source })
}

fn open(location: &Location, name: &'static str) -> Result<MapData, InspectError> {
    let error = |source| InspectError::Map { name, source };
    if let Some(&id) = location.ids.get(name) {
        return MapData::from_id(id).map_err(|source| InspectError::Id { name, id, source });
    }
    if let Some(directory) = &location.pins {
        let path = directory.join(name);
        return MapData::from_pin(&path).map_err(|source| InspectError::Pin { path, source });
    }
    let ids: Vec<u32> = loaded_maps()
        .filter_map(Result::ok)
        .filter(|info| info.name_as_str() == Some(name))
        .map(|info| info.id())
        .collect();
    match ids[..] {
        [] => Err(InspectError::NotLoaded { name }),
        [id] => MapData::from_id(id).map_err(error),
        _ => Err(InspectError::Ambiguous { name, ids }),
    }
}
