//! The agent's data plane in this process: tables, publisher, and the programs on a cgroup.
//!
//! The programs must never be attached to another cgroup than the experiment's own.

use std::{net::SocketAddr, path::Path};

use anyhow::{Result, ensure};
use lb_common::Counter;
use lb_userspace::{
    agent::Core,
    dataplane::{
        Attachment, Configuration, KernelConfig, KernelGrace, KernelStore, Object, Settings,
    },
    model::{FrontendChange, FrontendKey, Model, Options, Protocol},
    netns,
    publish::{Ids, Publisher, Sizes},
};
use rustix::io::Errno;

use crate::{Lab, port::Port};

/// Tables in the kernel and their writer. Dropping it detaches the programs.
pub struct Plane {
    /// The maps and the programs.
    pub object: Object,
    /// The tables' only writer.
    pub publisher: Publisher<KernelStore, KernelGrace>,
    /// The switches and opt-outs.
    pub config: KernelConfig,
    attachment: Option<Attachment>,
}

impl Plane {
    /// Makes empty tables of these sizes, without programs in force. All hooks are loaded.
    ///
    /// # Errors
    /// When the kernel refuses the maps or connect4.
    pub fn new(sizes: Sizes) -> Result<Self> {
        Self::with(&Settings::new(sizes), Configuration::default())
    }

    /// The same, as these settings and this configuration ask for it. The host is the calling
    /// thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the maps or connect4.
    pub fn with(settings: &Settings, configuration: Configuration) -> Result<Self> {
        let object = Object::load(settings)?;
        let host = netns::current_cookie()?.unwrap_or_default();
        let config = KernelConfig::new(&object, &Configuration { host, ..configuration })?;
        let grace = KernelGrace::new(|| ())?;
        let publisher = Publisher::new(object.store()?, grace, settings.sizes, Ids::default());
        Ok(Self { object, publisher, config, attachment: None })
    }

    /// Empty tables, with room for what a test needs, and the programs in force on the experiment's
    /// cgroup.
    ///
    /// # Errors
    /// When the kernel refuses the maps, connect4 or the attachment.
    pub fn on(lab: &Lab) -> Result<Self> {
        Self::on_with(lab, |_| (), Configuration::default())
    }

    /// The same, with settings that differ, and this configuration.
    ///
    /// # Errors
    /// As those of [`on`](Self::on).
    pub fn on_with(
        lab: &Lab,
        differ: impl FnOnce(&mut Settings),
        configuration: Configuration,
    ) -> Result<Self> {
        let mut settings = Settings::new(Sizes::new(256, 1024));
        differ(&mut settings);
        let mut plane = Self::with(&settings, configuration)?;
        plane.attach(lab.cgroup())?;
        Ok(plane)
    }

    /// Puts the programs in force on a cgroup, which must be the experiment's own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, cgroup: &Path) -> Result<()> {
        self.attachment = Some(Attachment::new(&self.object, cgroup, None)?);
        Ok(())
    }

    /// Publishes a Service port, or what changed of it.
    ///
    /// # Errors
    /// When a frontend does not land.
    pub fn publish(&mut self, port: &Port) -> Result<()> {
        self.apply(port.changes())
    }

    /// Takes a Service port's frontends away.
    ///
    /// # Errors
    /// When one stays.
    pub fn withdraw(&mut self, port: &Port) -> Result<()> {
        self.apply(port.changes().map(|change| FrontendChange { state: None, ..change }))
    }

    /// Carries out changes.
    ///
    /// # Errors
    /// When one of them does not land.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = FrontendChange>) -> Result<()> {
        let failures = self.publisher.apply(changes)?;
        ensure!(failures.is_empty(), "not published: {}: {}", failures[0], failures[0].source);
        Ok(())
    }

    /// What the programs have counted.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn count(&self, counter: Counter) -> Result<u64> {
        Ok(self.object.decisions()?.count(counter)?)
    }

    /// What a refused `connect()` or `sendto()` returns on this kernel.
    pub fn refusal(&self) -> Errno {
        if self.object.refuses_with_errno { Errno::CONNREFUSED } else { Errno::PERM }
    }

    /// Puts a model in front of the publisher: objects go in, tables come out.
    pub fn into_core(self) -> (Force, Core<KernelStore, KernelGrace>) {
        let core = Core::new(Model::new(Options::default()), self.publisher);
        (Force { object: self.object, _attachment: self.attachment }, core)
    }
}

/// The key of a frontend.
pub fn key(address: SocketAddr, protocol: Protocol) -> FrontendKey {
    FrontendKey { address: address.ip(), port: address.port(), protocol }
}

/// Keeps maps and programs in force while a core writes to them.
pub struct Force {
    /// The maps and the programs.
    pub object: Object,
    _attachment: Option<Attachment>,
}
