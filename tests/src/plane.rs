//! The agent's data plane in this process: tables, publisher, and the program on a cgroup.

use std::{net::SocketAddrV4, path::Path};

use anyhow::{Result, ensure};
use lb_common::{Counter, FrontendKey4};
use lb_userspace::{
    agent::Core,
    dataplane::{Attachment, KernelGrace, KernelStore, Object},
    model::{Model, Options},
    publish::{Frontend, FrontendChange, Publisher, Sizes},
};

/// IANA's number of TCP.
const TCP: u8 = 6;

/// Tables in the kernel and their writer. Dropping it detaches the program.
pub struct Plane {
    /// The maps and the program.
    pub object: Object,
    /// The tables' only writer.
    pub publisher: Publisher<KernelStore, KernelGrace>,
    attachment: Option<Attachment>,
}

impl Plane {
    /// Makes empty tables of these sizes, without a program in force.
    ///
    /// # Errors
    /// When the kernel refuses the maps or the program.
    pub fn new(sizes: Sizes) -> Result<Self> {
        let object = Object::load(sizes)?;
        let publisher = Publisher::new(object.store()?, KernelGrace::new(|| ())?, sizes);
        Ok(Self { object, publisher, attachment: None })
    }

    /// Puts the program in force on a cgroup, which must be the experiment's own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, cgroup: &Path) -> Result<()> {
        self.attachment = Some(Attachment::new(&mut self.object, cgroup, None)?);
        Ok(())
    }

    /// Publishes a frontend for each address, all with the same backends, which must be sorted.
    ///
    /// # Errors
    /// When one of them does not land.
    pub fn publish(
        &mut self,
        frontends: impl IntoIterator<Item = SocketAddrV4>,
        backends: &[SocketAddrV4],
    ) -> Result<()> {
        let changes = frontends.into_iter().map(|vip| FrontendChange {
            key: FrontendKey4::new(vip.ip().octets(), vip.port(), TCP),
            state: Some(Frontend {
                name: format!("bench/{}:{}/TCP", vip.ip(), vip.port()).into(),
                backends: backends.to_vec(),
            }),
        });
        let failures = self.publisher.apply(changes)?;
        ensure!(failures.is_empty(), "not published: {}: {}", failures[0], failures[0].source);
        Ok(())
    }

    /// What the programs have counted.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn count(&self, counter: Counter) -> Result<u64> {
        Ok(self.object.count(counter)?)
    }

    /// Puts a model in front of the publisher: objects go in, tables come out.
    pub fn into_core(self) -> (Force, Core<KernelStore, KernelGrace>) {
        let core = Core::new(Model::new(Options::default()), self.publisher);
        (Force { object: self.object, _attachment: self.attachment }, core)
    }
}

/// Keeps maps and program in force while a core writes to them.
pub struct Force {
    /// The maps and the program.
    pub object: Object,
    _attachment: Option<Attachment>,
}
