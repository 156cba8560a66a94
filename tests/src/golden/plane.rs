//! The kernel's tables, read as `socklb services` reads them.
//!
//! They must never be read from the publisher's memory.

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::{
    dataplane::inspect::{FrontendView, Inspector, Location, TABLES},
    model::{FrontendChange, FrontendKey, Protocol},
    publish::Sizes,
};

use super::run::Tables;
use crate::plane::Plane;

/// More than a script needs.
pub(super) const SIZES: Sizes = Sizes { frontends: 256, services: 320, backends: 1024 };

/// The kernel's tables and their writer.
pub struct Kernel {
    plane: Plane,
    inspector: Inspector,
}

impl Kernel {
    /// Makes empty tables.
    ///
    /// # Errors
    /// When the kernel refuses them.
    pub fn new() -> Result<Self> {
        let plane = Plane::new(SIZES)?;
        let id = |name: &&'static str| Ok(((*name).to_owned(), id(plane.object.map_fd(name)?)?));
        let ids = TABLES.iter().map(id).collect::<Result<_>>()?;
        let inspector = Inspector::open(&Location { ids, pins: None })?;
        Ok(Self { plane, inspector })
    }

    /// Takes everything out again.
    ///
    /// # Errors
    /// When something stays.
    pub fn clear(&mut self) -> Result<()> {
        let gone = self.frontends()?.into_iter().map(|view| {
            let protocol = match &*view.protocol {
                "TCP" => Protocol::Tcp,
                "UDP" => Protocol::Udp,
                _ => Protocol::Any,
            };
            let key = FrontendKey { address: view.address, port: view.port, protocol };
            FrontendChange { key, state: None }
        });
        self.apply(gone.collect())?;
        ensure!(self.frontends()?.is_empty(), "frontends stay that were removed");
        Ok(())
    }
}

impl Tables for Kernel {
    const NAME: &str = "the kernel's maps";

    fn apply(&mut self, changes: Vec<FrontendChange>) -> Result<()> {
        self.plane.apply(changes)?;
        let failures = self.plane.publisher.settle()?;
        ensure!(failures.is_empty(), "not published: {}: {}", failures[0], failures[0].source);
        Ok(())
    }

    fn frontends(&self) -> Result<Vec<FrontendView>> {
        Ok(self.inspector.frontends()?)
    }
}

/// The id of a map.
fn id(map: BorrowedFd<'_>) -> Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("map_id:"));
    Ok(id.context("the kernel tells no map_id in fdinfo")?.trim().parse()?)
}
