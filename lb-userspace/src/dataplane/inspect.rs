//! Reads the tables as any process can: what `socklb services` prints.
//!
//! Never from the agent's memory, so that it also works on the tables of an agent that is stopped,
//! and shows what connects see. It must never write.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsFd as _,
    path::PathBuf,
};

use aya::maps::{self, Map, MapData, MapError, loaded_maps};
use lb_common::{Backend4, FrontendKey4, FrontendValue, Range, Service, layout::NAME_LEN};
use serde::Serialize;
use thiserror::Error;

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
    #[error("cannot open {}", path.display())]
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

/// A frontend as connects see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontendView {
    /// `namespace/name:port/protocol`; empty if the agent has not named it.
    pub name: String,
    /// Address that clients connect to.
    pub address: Ipv4Addr,
    /// Port that clients connect to.
    pub port: u16,
    /// `TCP` or the IANA number.
    pub protocol: String,
    /// Index into `lb_services`.
    pub slot: u32,
    /// Key into `lb_names`.
    pub id: u32,
    /// Where connects go to.
    pub backends: Vec<BackendView>,
}

/// A backend as connects see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendView {
    /// Address and port.
    pub address: SocketAddrV4,
    /// Its id, unique within the tables.
    pub id: u32,
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

/// Open tables.
pub struct Inspector {
    frontends: maps::HashMap<MapData, FrontendKey4, FrontendValue>,
    names: maps::HashMap<MapData, u32, [u8; NAME_LEN]>,
    services: MappedArray<Service>,
    backends: MappedArray<Backend4>,
}

/// How often a service is read again when its range changes meanwhile.
const ATTEMPTS: u32 = 100;

impl Inspector {
    /// Opens the tables.
    pub fn open(location: &Location) -> Result<Self, InspectError> {
        let hash = |name| Ok(Map::HashMap(open(location, name)?));
        Ok(Self {
            frontends: typed("lb_frontends4", hash("lb_frontends4")?)?,
            names: typed("lb_names", hash("lb_names")?)?,
            services: array(location, "lb_services")?,
            backends: array(location, "lb_backends4")?,
        })
    }

    /// Every frontend that is not gone, by address and port.
    pub fn frontends(&self) -> Result<Vec<FrontendView>, InspectError> {
        let error = |name| move |source| InspectError::Map { name, source };
        let names: HashMap<u32, [u8; NAME_LEN]> =
            self.names.iter().collect::<Result<_, _>>().map_err(error("lb_names"))?;
        // By key: an iteration may meet one twice when another is deleted meanwhile.
        let mut views = BTreeMap::new();
        for entry in self.frontends.iter() {
            let (key, value) = entry.map_err(error("lb_frontends4"))?;
            let Some((service, backends)) = self.service(value.slot)? else { continue };
            // A slot is given to another frontend only after its key was deleted.
            if self.frontends.get(&key, 0).ok() != Some(value) {
                continue;
            }
            let view = FrontendView {
                name: names.get(&service.id).map(name_of).unwrap_or_default(),
                address: key.address.into(),
                port: key.port,
                protocol: protocol(key.protocol),
                slot: value.slot,
                id: service.id,
                backends: backends
                    .iter()
                    .map(|backend| BackendView {
                        address: SocketAddrV4::new(backend.address.into(), backend.port),
                        id: backend.id,
                    })
                    .collect(),
            };
            views.insert(key, view);
        }
        Ok(views.into_values().collect())
    }

    /// A service and its backends, or `None` if it is gone. This process is no RCU reader, so the
    /// block may be given to another service while it is read: the range is compared afterwards.
    fn service(&self, slot: u32) -> Result<Option<(Service, Vec<Backend4>)>, InspectError> {
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
            if end.is_none_or(|end| end > self.backends.len()) {
                return Err(InspectError::Foreign { name: "lb_services" });
            }
            let service = self.services.read(slot);
            let backends =
                (0..range.count).map(|offset| self.backends.read(range.first + offset)).collect();
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
    if let Some(id) = location.ids.get(name) {
        return MapData::from_id(*id).map_err(error);
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

fn name_of(value: &[u8; NAME_LEN]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn protocol(number: u8) -> String {
    match number {
        6 => "TCP".into(),
        17 => "UDP".into(),
        other => other.to_string(),
    }
}
