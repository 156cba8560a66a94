//! What publication asks of the tables and of the kernel.
//!
//! Nothing here may know what a map is: publication runs on plain memory too. Implementations must
//! never put off or swap what they are told to write: the order is what keeps readers safe.

use std::io;

use lb_common::Range;
use thiserror::Error;

use super::Family;
use crate::{
    model::{FrontendKey, Protocol},
    plan::placement::Backend,
};

/// A system call on a table failed.
#[derive(Debug, Error)]
#[error("{call} on {table} failed")]
pub struct StoreError {
    /// The call, as the kernel's documentation names it.
    pub call: &'static str,
    /// The map it was made on.
    pub table: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// A batch stopped early.
#[derive(Debug, Error)]
#[error("stopped after {done} entries")]
pub struct Partial {
    /// How many entries of the batch took effect. The next one is the one that failed.
    pub done: usize,
    /// Why it failed.
    pub source: StoreError,
}

/// Write access to one generation of tables, by their only writer.
pub trait Store {
    /// Reads a backend that this writer has written.
    fn backend(&self, family: Family, index: u32) -> Backend;

    /// Writes consecutive backends of this family that no reader can reach.
    fn write_backends(&mut self, family: Family, first: u32, backends: &[Backend]);

    /// Stores a slot's range with release ordering: readers that see it see everything written
    /// before.
    fn publish(&mut self, slot: u32, range: Range);

    /// Stores the id of a slot's Service port, and its affinity in seconds, in one go. Readers may
    /// have the slot.
    fn identify(&mut self, slot: u32, id: u32, affinity: u32);

    /// Stores the flags of a slot ([`lb_common::layout::HOST_ONLY`]) and the tag of the frontend
    /// that has it, in one go. Readers may have the slot, also such as remember it as another's.
    fn set_traits(&mut self, slot: u32, flags: u32, tag: u32);

    /// Notes which ids come next, for the generation after this one, in one go.
    fn remember_ids(&mut self, next_service: u32, next_backend: u32);

    /// Notes whether a node port is served. `protocol` is TCP or UDP.
    fn set_node_port(&mut self, protocol: Protocol, port: u16, served: bool);

    /// Adds frontends with their slots. All are of this family, and none is in the table.
    fn insert_frontends(
        &mut self,
        family: Family,
        entries: &[(FrontendKey, u32)],
    ) -> Result<(), Partial>;

    /// Deletes frontends, all of this family. A key that is not there counts as deleted.
    fn delete_frontends(&mut self, family: Family, keys: &[FrontendKey]) -> Result<(), Partial>;

    /// Notes the names of Service ports by id, for tools and the next generation.
    fn insert_names(&mut self, names: &[(u32, &str)]) -> Result<(), Partial>;

    /// Forgets names.
    fn delete_names(&mut self, ids: &[u32]) -> Result<(), Partial>;
}

/// A grace period could not be made. Without one nothing can be reclaimed, so this ends the agent.
#[derive(Debug, Error)]
#[error("cannot wait for the kernel's readers")]
pub struct GraceError(#[from] pub io::Error);

/// Makes grace periods: spans of time within which every reader that was under way at the start
/// has ended.
pub trait Grace {
    /// Starts one. Called only when none is under way.
    fn start(&mut self) -> Result<(), GraceError>;

    /// Whether the one under way has ended, without waiting. Says so once.
    fn is_over(&mut self) -> Result<bool, GraceError>;

    /// Waits for the end of the one under way.
    fn wait(&mut self) -> Result<(), GraceError>;
}
