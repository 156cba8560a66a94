//! One generation of tables in the kernel, as publication writes them.
//!
//! Ranges and backends are written through mapped memory, without a system call; keys and names in
//! batches. Nothing here decides the order of writes: [`crate::publish`] does.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::Ordering,
};

use lb_common::{Backend4, FrontendKey4, FrontendValue, Range, Service, layout::NAME_LEN};

use super::{mapped::WritableArray, sys};
use crate::publish::{Partial, Sizes, Store, StoreError};

/// Entries that one system call takes: bounds the copies that the kernel makes at once.
const BATCH: usize = 4096;

/// The tables' file descriptors, each a duplicate that outlives the loader's.
pub(super) struct Tables {
    pub(super) frontends: OwnedFd,
    pub(super) services: OwnedFd,
    pub(super) backends: OwnedFd,
    pub(super) names: OwnedFd,
}

/// The kernel's tables.
pub struct KernelStore {
    frontends: OwnedFd,
    names: OwnedFd,
    services: WritableArray<Service>,
    backends: WritableArray<Backend4>,
}

impl KernelStore {
    /// Maps the arrays into memory.
    pub(super) fn new(tables: Tables, sizes: Sizes) -> Result<Self, StoreError> {
        let services = WritableArray::new(tables.services.as_fd(), sizes.services)
            .map_err(|source| StoreError { call: "mmap", table: "lb_services", source })?;
        let backends = WritableArray::new(tables.backends.as_fd(), sizes.backends)
            .map_err(|source| StoreError { call: "mmap", table: "lb_backends4", source })?;
        Ok(Self { frontends: tables.frontends, names: tables.names, services, backends })
    }
}

impl Store for KernelStore {
    fn backend(&self, index: u32) -> Backend4 {
        self.backends.read(index)
    }

    fn write_backends(&mut self, first: u32, backends: &[Backend4]) {
        self.backends.write(first, backends);
    }

    fn publish(&mut self, slot: u32, range: Range) {
        self.services.word(slot, 0).store(range.to_bits(), Ordering::Release);
    }

    fn identify(&mut self, slot: u32, id: u32) {
        self.services.word(slot, 1).store(Service::identity(id), Ordering::Relaxed);
    }

    fn insert_frontends(
        &mut self,
        entries: &[(FrontendKey4, FrontendValue)],
    ) -> Result<(), Partial> {
        let map = self.frontends.as_fd();
        in_batches("BPF_MAP_UPDATE_BATCH", "lb_frontends4", entries, |entries| {
            let (keys, values): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
            sys::update_batch(map, &keys, &values)
        })
    }

    fn delete_frontends(&mut self, keys: &[FrontendKey4]) -> Result<(), Partial> {
        let map = self.frontends.as_fd();
        delete("lb_frontends4", keys, |keys| sys::delete_batch(map, keys))
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
