//! Loads the BPF object: makes its maps in the sizes that were asked for, and its programs.
//!
//! Nothing here attaches or pins: that is [`super::attach`].

mod error;
mod programs;
mod settings;

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Map, MapData},
};

pub use self::{error::LoadError, programs::Loaded, settings::Settings};
use super::{
    carried,
    decisions::Decisions,
    hooks::{HOOKS, Hook},
    iterator::{OriginIterator, Origins},
    store::{KernelStore, Tables},
};
use crate::publish::Sizes;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/socklb-bpf"));

/// The maps, by name: the order in which tools list them.
pub(super) const MAPS: [&str; 13] = [
    "lb_frontends4",
    "lb_frontends6",
    "lb_services",
    "lb_backends4",
    "lb_backends6",
    "lb_names",
    "lb_config",
    "lb_optouts",
    "lb_node_ports",
    "lb_counters",
    "lb_affinity",
    "lb_origins",
    "lb_udp_origins",
];

/// The loaded object: maps, and programs that nothing runs yet.
pub struct Object {
    ebpf: Ebpf,
    sizes: Sizes,
    programs: Vec<Loaded>,
    /// Whether refused connects see ECONNREFUSED, for which the kernel must have
    /// `bpf_set_retval` (5.18). Otherwise they see EPERM.
    pub refuses_with_errno: bool,
}

impl Object {
    /// Makes the maps and loads the programs that the settings need. One that the kernel refuses is
    /// left out, but for connect4. Needs Linux 5.10 with BTF.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        if !Path::new("/sys/kernel/btf/vmlinux").exists() {
            return Err(LoadError::NoBtf);
        }
        let carried = settings.carried.as_deref();
        let carried = carried.map(|pins| carried::compatible(pins, settings.affinity));
        let sizes = settings.sizes;
        let note_tcp = u8::from(settings.note_tcp);
        let reverse_tcp = u8::from(settings.reverse_tcp);
        // One for both attempts: making it reads the kernel's types, which takes its time.
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("lb_frontends4", sizes.frontends)
            .map_max_entries("lb_frontends6", sizes.frontends)
            .map_max_entries("lb_services", sizes.slots())
            .map_max_entries("lb_backends4", sizes.backends)
            .map_max_entries("lb_backends6", sizes.backends)
            .map_max_entries("lb_names", sizes.services)
            .map_max_entries("lb_affinity", settings.affinity)
            .map_max_entries("lb_optouts", settings.opt_outs)
            .override_global("NOTE_TCP", &note_tcp, true)
            .override_global("REVERSE_TCP", &reverse_tcp, true);
        for (name, path) in carried.iter().flatten() {
            loader.map_pin_path(name, path);
        }
        match Self::try_load(&mut loader, settings, true) {
            // Whether the kernel has the helper is best asked by using it: distributions backport.
            // If the program is refused without it too, the first reason is the better one.
            Err(error @ LoadError::Program { .. }) => {
                Self::try_load(&mut loader, settings, false).map_err(|_| error)
            }
            other => other,
        }
    }

    fn try_load(
        loader: &mut EbpfLoader<'_>,
        settings: &Settings,
        refuses_with_errno: bool,
    ) -> Result<Self, LoadError> {
        let set_retval: &'static u8 = if refuses_with_errno { &1 } else { &0 };
        loader.override_global("SET_RETVAL", set_retval, true);
        let mut ebpf = loader.load(OBJECT).map_err(LoadError::Maps)?;
        let mut programs = Vec::new();
        for hook in HOOKS.into_iter().filter(|hook| settings.need(hook.part)) {
            programs.push(programs::load(&mut ebpf, hook)?);
        }
        Ok(Self { ebpf, sizes: settings.sizes, programs, refuses_with_errno })
    }

    /// Entries of the tables.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// How the loading of each program went.
    pub fn programs(&self) -> &[Loaded] {
        &self.programs
    }

    /// The descriptors of the programs that were loaded, in the order in which they are to be
    /// attached.
    pub(super) fn attachable(&self) -> Result<Vec<(Hook, BorrowedFd<'_>)>, LoadError> {
        let loaded = self.programs.iter().filter(|loaded| loaded.error.is_none());
        loaded.map(|loaded| Ok((loaded.hook, self.program_fd(loaded.hook.name)?))).collect()
    }

    /// A program's descriptor.
    fn program_fd(&self, name: &'static str) -> Result<BorrowedFd<'_>, LoadError> {
        let program = self.ebpf.program(name).ok_or(LoadError::Missing(name))?;
        let fd = program.fd().map_err(|source| LoadError::Program { name, source })?;
        Ok(fd.as_fd())
    }

    /// How often a program ran, and for how long in all, while the kernel kept statistics
    /// (`kernel.bpf_stats_enabled`, kernel 5.1).
    pub fn statistics(&self, name: &'static str) -> Result<(u64, Duration), LoadError> {
        let program = self.ebpf.program(name).ok_or(LoadError::Missing(name))?;
        let info = program.info().map_err(|source| LoadError::Program { name, source })?;
        Ok((info.run_count(), info.run_time()))
    }

    fn map(&self, name: &'static str) -> Result<&MapData, LoadError> {
        match self.ebpf.map(name) {
            Some(
                Map::Array(data)
                | Map::HashMap(data)
                | Map::LruHashMap(data)
                | Map::SkStorage(data),
            ) => Ok(data),
            _ => Err(LoadError::Missing(name)),
        }
    }

    /// A map's descriptor.
    pub fn map_fd(&self, name: &'static str) -> Result<BorrowedFd<'_>, LoadError> {
        Ok(self.map(name)?.fd().as_fd())
    }

    /// A map's descriptor, duplicated.
    pub(super) fn map_copy(&self, name: &'static str) -> Result<OwnedFd, LoadError> {
        Ok(self.map_fd(name)?.try_clone_to_owned()?)
    }

    /// Loads the iterator over `lb_origins`.
    pub fn origins(&mut self, origins: Origins) -> Result<OriginIterator, LoadError> {
        let map = self.map_fd("lb_origins")?.try_clone_to_owned()?;
        OriginIterator::load(&mut self.ebpf, origins, map.as_fd())
    }

    /// Write access to the tables. There must be one writer only.
    pub fn store(&self) -> Result<KernelStore, LoadError> {
        let tables = Tables {
            frontends4: self.map_copy("lb_frontends4")?,
            frontends6: self.map_copy("lb_frontends6")?,
            services: self.map_copy("lb_services")?,
            backends4: self.map_copy("lb_backends4")?,
            backends6: self.map_copy("lb_backends6")?,
            names: self.map_copy("lb_names")?,
            config: self.map_copy("lb_config")?,
            node_ports: self.map_copy("lb_node_ports")?,
        };
        Ok(KernelStore::new(tables, self.sizes)?)
    }

    /// What the programs count.
    pub fn decisions(&self) -> Result<Decisions, LoadError> {
        Ok(Decisions::new(MapData::from_fd(self.map_copy("lb_counters")?)?)?)
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
