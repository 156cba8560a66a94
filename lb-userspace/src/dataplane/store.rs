//! One generation of tables in the kernel, as publication writes them.
//!
//! Slots, backends, node ports and ids are written through mapped memory, without a system call;
//! keys and names in batches. Nothing here decides the order of writes: [`crate::publish`] does.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::Ordering,
};

use aya::Pod;
use lb_common::{
    FrontendValue, Range, Service, V4, V6,
    layout::{Config, NAME_LEN, NODE_PORT_WORDS, node_port_bit},
};

use super::{mapped::WritableArray, sys};
use crate::{
    model::{FrontendKey, Protocol},
    plan::placement::Backend,
    publish::{Family, Partial, Sizes, Store, StoreError, Wire},
};

/// Entries that one system call takes: bounds the copies that the kernel makes at once.
const BATCH: usize = 4096;

/// The tables' file descriptors, each a duplicate that outlives the loader's.
pub(super) struct Tables {
    pub(super) frontends4: OwnedFd,
    pub(super) frontends6: OwnedFd,
    pub(super) services: OwnedFd,
    pub(super) backends4: OwnedFd,
    pub(super) backends6: OwnedFd,
    pub(super) names: OwnedFd,
    pub(super) config: OwnedFd,
    pub(super) node_ports: OwnedFd,
}

/// The tables of one family.
struct Half<F: Wire> {
    frontends: OwnedFd,
    backends: WritableArray<F::Backend>,
}

/// The kernel's tables.
pub struct KernelStore {
    v4: Half<V4>,
    v6: Half<V6>,
    services: WritableArray<Service>,
    names: OwnedFd,
    config: WritableArray<Config>,
    node_ports: WritableArray<u64>,
}

impl KernelStore {
    /// Maps the arrays into memory.
    pub(super) fn new(tables: Tables, sizes: Sizes) -> Result<Self, StoreError> {
        Ok(Self {
            v4: Half::new(tables.frontends4, &tables.backends4, sizes)?,
            v6: Half::new(tables.frontends6, &tables.backends6, sizes)?,
            services: mapped("lb_services", &tables.services, sizes.slots())?,
            names: tables.names,
            config: mapped("lb_config", &tables.config, 1)?,
            node_ports: mapped("lb_node_ports", &tables.node_ports, NODE_PORT_WORDS as u32)?,
        })
    }
}

impl Store for KernelStore {
    fn backend(&self, family: Family, index: u32) -> Backend {
        match family {
            Family::V4 => V4::read(&self.v4.backends.read(index)),
            Family::V6 => V6::read(&self.v6.backends.read(index)),
        }
    }

    fn write_backends(&mut self, family: Family, first: u32, backends: &[Backend]) {
        match family {
            Family::V4 => self.v4.write(first, backends),
            Family::V6 => self.v6.write(first, backends),
        }
    }

    fn publish(&mut self, slot: u32, range: Range) {
        self.services.word(slot, 0).store(range.to_bits(), Ordering::Release);
    }

    fn identify(&mut self, slot: u32, id: u32, affinity: u32) {
        self.services.word(slot, 1).store(Service::identity(id, affinity), Ordering::Relaxed);
    }

    fn set_traits(&mut self, slot: u32, flags: u32, tag: u32) {
        self.services.word(slot, 2).store(Service::traits(flags, tag), Ordering::Relaxed);
    }

    fn remember_ids(&mut self, next_service: u32, next_backend: u32) {
        let word = Config::next_ids(next_service, next_backend);
        self.config.word(0, Config::NEXT_IDS_WORD).store(word, Ordering::Relaxed);
    }

    fn set_node_port(&mut self, protocol: Protocol, port: u16, served: bool) {
        let (word, bit) = node_port_bit(protocol as u8, port);
        let word = self.node_ports.word(word, 0);
        if served {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn insert_frontends(
        &mut self,
        family: Family,
        entries: &[(FrontendKey, u32)],
    ) -> Result<(), Partial> {
        match family {
            Family::V4 => self.v4.insert(entries),
            Family::V6 => self.v6.insert(entries),
        }
    }

    fn delete_frontends(&mut self, family: Family, keys: &[FrontendKey]) -> Result<(), Partial> {
        match family {
            Family::V4 => self.v4.delete(keys),
            Family::V6 => self.v6.delete(keys),
        }
    }

    fn insert_names(&mut self, names: &[(u32, &str)]) -> Result<(), Partial> {
        let map = self.names.as_fd();
        in_batches("BPF_MAP_UPDATE_BATCH", "lb_names", names, |names| {
            let (ids, names): (Vec<u32>, Vec<_>) =
                names.iter().map(|&(id, name)| (id, padded(name))).unzip();
            sys::update_batch(map, &ids, &names)
        })
    }

    fn delete_names(&mut self, ids: &[u32]) -> Result<(), Partial> {
        let map = self.names.as_fd();
        delete("lb_names", ids, |ids| sys::delete_batch(map, ids))
    }
}

impl<F: Wire<Key: Pod, Backend: Pod>> Half<F> {
    fn new(frontends: OwnedFd, backends: &OwnedFd, sizes: Sizes) -> Result<Self, StoreError> {
        let backends = mapped(F::FAMILY.backends(), backends, sizes.backends)?;
        Ok(Self { frontends, backends })
    }

    fn write(&mut self, first: u32, backends: &[Backend]) {
        for (index, backend) in (first..).zip(backends) {
            self.backends.write(index, &[F::backend(backend)]);
        }
    }

    fn insert(&mut self, entries: &[(FrontendKey, u32)]) -> Result<(), Partial> {
        let map = self.frontends.as_fd();
        in_batches("BPF_MAP_UPDATE_BATCH", F::FAMILY.frontends(), entries, |entries| {
            let entry = |&(ref key, slot)| {
                let key = F::key(key);
                (key, FrontendValue { slot, tag: F::tag(&key) })
            };
            let (keys, values): (Vec<_>, Vec<_>) = entries.iter().map(entry).unzip();
            sys::update_batch(map, &keys, &values)
        })
    }

    fn delete(&mut self, keys: &[FrontendKey]) -> Result<(), Partial> {
        let map = self.frontends.as_fd();
        let keys: Vec<F::Key> = keys.iter().map(F::key).collect();
        delete(F::FAMILY.frontends(), &keys, |keys| sys::delete_batch(map, keys))
    }
}

fn mapped<T: Pod>(
    table: &'static str,
    map: &OwnedFd,
    len: u32,
) -> Result<WritableArray<T>, StoreError> {
    WritableArray::new(map.as_fd(), len).map_err(|source| StoreError {
        call: "mmap",
        table,
        source,
    })
}

/// Deletes keys; one that is not there counts as deleted.
fn delete<K>(
    table: &'static str,
    keys: &[K],
    delete: impl Fn(&[K]) -> Result<(), (usize, io::Error)>,
) -> Result<(), Partial> {
    in_batches("BPF_MAP_DELETE_BATCH", table, keys, |keys| {
        let mut passed = 0;
        loop {
            match delete(&keys[passed..]) {
                Err((done, error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                    passed += done + 1;
                }
                other => return other.map_err(|(done, error)| (passed + done, error)),
            }
        }
    })
}

fn in_batches<T>(
    call: &'static str,
    table: &'static str,
    entries: &[T],
    run: impl Fn(&[T]) -> Result<(), (usize, io::Error)>,
) -> Result<(), Partial> {
    for (number, batch) in entries.chunks(BATCH).enumerate() {
        run(batch).map_err(|(done, source)| Partial {
            done: number * BATCH + done,
            source: StoreError { call, table, source },
        })?;
    }
    Ok(())
}

/// A name as the value of `lb_names`. Longer ones, which Kubernetes does not have, are cut.
fn padded(name: &str) -> [u8; NAME_LEN] {
    let mut value = [0; NAME_LEN];
    let end = name.floor_char_boundary(NAME_LEN);
    value[..end].copy_from_slice(&name.as_bytes()[..end]);
    value
}
