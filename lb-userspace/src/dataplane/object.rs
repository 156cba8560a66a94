//! Loads the BPF object: makes its maps in the sizes that were asked for, and its programs.
//!
//! Nothing here attaches or pins: that is [`super::attach`].

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, Map, MapData, MapError},
    programs::{CgroupSockAddr, ProgramError, ProgramFd},
};
use lb_common::Counter;
use thiserror::Error;

use super::{
    iterator::{OriginIterator, Origins},
    store::{KernelStore, Tables},
};
use crate::publish::{Sizes, StoreError};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/socklb-bpf"));

/// The maps, by name: the order in which tools list them.
pub const MAPS: [&str; 5] =
    ["lb_frontends4", "lb_services", "lb_backends4", "lb_names", "lb_counters"];

/// The BPF object could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The kernel has no BTF of itself.
    #[error(
        "/sys/kernel/btf/vmlinux is missing: socklb needs a kernel that was built with \
         CONFIG_DEBUG_INFO_BTF (5.10 or newer)"
    )]
    NoBtf,
    /// A map could not be made.
    #[error(
        "cannot make the maps: are root or CAP_BPF and CAP_NET_ADMIN, and enough memory there?"
    )]
    Maps(#[source] EbpfError),
    /// The kernel refused the program.
    #[error("the kernel refuses the program {name}")]
    Program {
        /// Its name.
        name: &'static str,
        /// What the verifier said.
        source: ProgramError,
    },
    /// The object, or the kernel's account of it, lacks something that the agent expects.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// A descriptor could not be duplicated or read.
    #[error("cannot use a map's descriptor")]
    Descriptor(#[from] io::Error),
    /// A map could not be read.
    #[error("cannot read a map")]
    Map(#[from] MapError),
    /// An array could not be mapped into memory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The loaded object: maps, and a program that nothing runs yet.
pub struct Object {
    ebpf: Ebpf,
    sizes: Sizes,
    /// Whether refused connects see ECONNREFUSED, for which the kernel must have
    /// `bpf_set_retval` (5.18). Otherwise they see EPERM.
    pub refuses_with_errno: bool,
}

const CONNECT4: &str = "connect4";

impl Object {
    /// Makes the maps and loads the program. Needs Linux 5.10 with BTF.
    pub fn load(sizes: Sizes) -> Result<Self, LoadError> {
        if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
            return Err(LoadError::NoBtf);
        }
        match Self::try_load(sizes, true) {
            // Whether the kernel has the helper is best asked by using it: distributions backport.
            // If the program is refused without it too, the first reason is the better one.
            Err(error @ LoadError::Program { .. }) => {
                Self::try_load(sizes, false).map_err(|_| error)
            }
            other => other,
        }
    }

    fn try_load(sizes: Sizes, refuses_with_errno: bool) -> Result<Self, LoadError> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("lb_frontends4", sizes.frontends)
            .map_max_entries("lb_services", sizes.services)
            .map_max_entries("lb_backends4", sizes.backends)
            .map_max_entries("lb_names", sizes.services)
            .override_global("SET_RETVAL", &u8::from(refuses_with_errno), true)
            .load(OBJECT)
            .map_err(LoadError::Maps)?;
        program(&mut ebpf)?
            .load()
            .map_err(|source| LoadError::Program { name: CONNECT4, source })?;
        Ok(Self { ebpf, sizes, refuses_with_errno })
    }

    /// The loaded program.
    pub fn program(&mut self) -> Result<&CgroupSockAddr, LoadError> {
        program(&mut self.ebpf).map(|program| &*program)
    }

    /// The loaded program's descriptor.
    pub(super) fn program_fd(&mut self) -> Result<&ProgramFd, LoadError> {
        self.program()?.fd().map_err(|source| LoadError::Program { name: CONNECT4, source })
    }

    fn map(&self, name: &'static str) -> Result<&MapData, LoadError> {
        match self.ebpf.map(name) {
            Some(Map::Array(data) | Map::HashMap(data) | Map::SkStorage(data)) => Ok(data),
            _ => Err(LoadError::Missing(name)),
        }
    }

    /// A map's descriptor.
    pub fn map_fd(&self, name: &'static str) -> Result<BorrowedFd<'_>, LoadError> {
        Ok(self.map(name)?.fd().as_fd())
    }

    /// Loads the iterator over `lb_origins`.
    pub fn origins(&mut self, origins: Origins) -> Result<OriginIterator, LoadError> {
        let map = self.map_fd("lb_origins")?.try_clone_to_owned()?;
        OriginIterator::load(&mut self.ebpf, origins, map.as_fd())
    }

    /// Write access to the tables. There must be one writer only.
    pub fn store(&self) -> Result<KernelStore, LoadError> {
        let duplicate =
            |name| -> Result<OwnedFd, LoadError> { Ok(self.map_fd(name)?.try_clone_to_owned()?) };
        let tables = Tables {
            frontends: duplicate("lb_frontends4")?,
            services: duplicate("lb_services")?,
            backends: duplicate("lb_backends4")?,
            names: duplicate("lb_names")?,
        };
        Ok(KernelStore::new(tables, self.sizes)?)
    }

    /// What the programs have counted under this reason since the map was made.
    pub fn count(&self, counter: Counter) -> Result<u64, LoadError> {
        let map = self.ebpf.map("lb_counters").ok_or(LoadError::Missing("lb_counters"))?;
        Ok(Array::<_, u64>::try_from(map)?.get(&(counter as u32), 0)?)
    }

    /// Bytes of kernel memory that the maps take, as the kernel states them for each (`memlock`
    /// in `/proc/self/fdinfo`).
    pub fn memory(&self) -> Result<u64, LoadError> {
        MAPS.iter().try_fold(0, |sum, name| {
            let fd = self.map_fd(name)?.as_raw_fd();
            let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
            let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
            let bytes = bytes.and_then(|bytes| bytes.trim().parse::<u64>().ok());
            Ok(sum + bytes.ok_or(LoadError::Missing("memlock line in /proc/self/fdinfo"))?)
        })
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut CgroupSockAddr, LoadError> {
    ebpf.program_mut(CONNECT4)
        .and_then(|program| program.try_into().ok())
        .ok_or(LoadError::Missing(CONNECT4))
}
