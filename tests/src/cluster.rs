//! The agent as it runs in a cluster: the binary, a kubeconfig, pins on a bpf filesystem; and the
//! cluster, which is an API server and nothing else.
//!
//! This must never look into the tables: what a test sees, a user sees.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::Value;

use crate::{
    Lab,
    agent::{Agent, Starting, binary},
    apiserver::{Double, Options},
    http, manifest,
};

/// Where the agent serves its health.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10240);
/// The name that the agent is given for its node.
pub const NODE: &str = "here";

/// A double of an API server, and what an agent is told to watch it.
pub struct Cluster<'lab> {
    lab: &'lab Lab,
    guard: &'lab Path,
    /// The server.
    pub server: Double,
    kubeconfig: PathBuf,
    pins: PathBuf,
}

impl<'lab> Cluster<'lab> {
    /// A cluster without objects, and no agent. `guard` is the path of `socklb-lab`.
    ///
    /// # Errors
    /// When there is one already, or no bpf filesystem can be had.
    pub fn new(lab: &'lab Lab, guard: &'lab Path, options: Options) -> Result<Self> {
        let server = Double::start(options)?;
        let kubeconfig = server.access().write_files(lab.scratch())?;
        Ok(Self { lab, guard, server, kubeconfig, pins: lab.bpffs()?.join("socklb") })
    }

    /// Writes the files that say how to reach the server anew.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn renew_access(&self) -> Result<()> {
        self.server.access().write_files(self.lab.scratch()).map(drop)
    }

    /// Stores a Service and its slices.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub fn apply(&self, service: &manifest::Service) -> Result<()> {
        for document in service.text().split("---\n").filter(|text| !text.trim().is_empty()) {
            let object: Value = serde_json::from_str(document)?;
            if object["kind"] == "Service" {
                self.server.apply::<Service>(serde_json::from_value(object)?)?;
            } else {
                self.server.apply::<EndpointSlice>(serde_json::from_value(object)?)?;
            }
        }
        Ok(())
    }

    /// The agent's pin directory.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    fn arguments(&self, flags: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into(), "--kubeconfig".into()];
        arguments.extend([self.kubeconfig.clone().into(), "--cgroup".into()]);
        arguments.extend([self.lab.cgroup().into(), "--pin".into(), self.pins.clone().into()]);
        arguments.extend(["--health".into(), HEALTH.to_string().into()]);
        // A later one counts.
        if !flags.contains(&"--node-name") {
            arguments.extend(["--node-name".into(), NODE.into()]);
        }
        arguments.extend(flags.iter().map(Into::into));
        arguments
    }

    /// Starts an agent with these flags, and returns when it balances.
    ///
    /// # Errors
    /// Those of [`Agent::start`].
    pub fn start(&self, flags: &[&str]) -> Result<Agent> {
        Agent::start(self.lab, self.guard, &binary()?, &self.arguments(flags))
    }

    /// Starts an agent with these flags, and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&self, flags: &[&str]) -> Result<Starting> {
        Agent::launch(self.lab, self.guard, &binary()?, &self.arguments(flags))
    }

    /// Asks the agent by HTTP, as a probe does. Returns the status and the body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn probe(&self, path: &str) -> Result<(u16, String)> {
        http::get(HEALTH, path)
    }

    /// A metric's value, by its name and labels as `/metrics` writes them.
    ///
    /// # Errors
    /// When the agent does not answer, or has no such metric.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.probe("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("{name} is not in\n{text}"))?.parse()?)
    }
}
