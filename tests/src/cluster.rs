//! The agent as it runs in a cluster: the binary, a kubeconfig, pins on a bpf filesystem; and the
//! cluster, which is an API server and nothing else.
//!
//! This must never look into the tables: what a test sees, a user sees.

use std::{
    ffi::OsString,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::Value;
use tokio::runtime;

use crate::{
    Lab,
    agent::{Agent, Starting, binary},
    apiserver::{Access, ApiServer, Double, Kind},
    http, manifest,
};

/// Where the agent serves its health.
const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10240);
/// The name that the agent is given for its node.
pub const NODE: &str = "here";
/// The namespace of objects that name none.
const NAMESPACE: &str = "default";
/// Who changes objects.
const MANAGER: &str = "lab";

/// An API server, and what an agent is told to watch it.
pub struct Cluster<'lab> {
    lab: &'lab Lab,
    guard: &'lab Path,
    server: ApiServer,
    kubeconfig: PathBuf,
    pins: PathBuf,
}

impl<'lab> Cluster<'lab> {
    /// A new cluster on this server, and no agent. `guard` is the path of `socklb-lab`.
    ///
    /// # Errors
    /// When there is one already, or no bpf filesystem can be had.
    pub fn new(lab: &'lab Lab, guard: &'lab Path, server: ApiServer) -> Result<Self> {
        let kubeconfig = server.access().write_files(lab.scratch())?;
        Ok(Self { lab, guard, server, kubeconfig, pins: lab.bpffs()?.join("socklb") })
    }

    /// The server, for what only the lab's own can do.
    ///
    /// # Panics
    /// On another one: a test says that it needs this one by
    /// [`Need::Double`](crate::requirement::Need::Double).
    pub fn double(&self) -> &Double {
        match &self.server {
            ApiServer::Double(double) => double,
            ApiServer::Real(_) => panic!("this needs the lab's own API server"),
        }
    }

    /// How a client reaches the server.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes the files that say how to reach the server anew.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn renew_access(&self) -> Result<()> {
        self.server.access().write_files(self.lab.scratch()).map(drop)
    }

    /// Stores an object with its status, whether it is there already or not.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn put<K: Kind>(&self, object: K) -> Result<()> {
        match &self.server {
            ApiServer::Double(double) => double.apply(object).map(drop),
            ApiServer::Real(real) => wait(real.access(), async |client| {
                let name = object.meta().name.clone().context("an object without a name")?;
                let namespace = object.meta().namespace.clone();
                let api = api::<K>(client, namespace.as_deref().unwrap_or(NAMESPACE));
                let params = PatchParams::apply(MANAGER).force();
                let object = serde_json::to_value(&object)?;
                api.patch(&name, &params, &Patch::Apply(&object)).await?;
                if !object["status"].is_null() {
                    api.patch_status(&name, &params, &Patch::Apply(&object)).await?;
                }
                Ok(())
            }),
        }
    }

    /// Removes an object. The namespace is empty for what has none.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove<K: Kind>(&self, namespace: &str, name: &str) -> Result<()> {
        match &self.server {
            ApiServer::Double(double) => double.remove::<K>(namespace, name).map(drop),
            ApiServer::Real(real) => wait(real.access(), async |client| {
                let at_once = DeleteParams::default().grace_period(0);
                api::<K>(client, namespace).delete(name, &at_once).await?;
                Ok(())
            }),
        }
    }

    /// Stores a Service and its slices.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub fn apply(&self, service: &manifest::Service) -> Result<()> {
        for document in service.text().split("---\n").filter(|text| !text.trim().is_empty()) {
            let object: Value = serde_json::from_str(document)?;
            match object["kind"].as_str() {
                Some("Service") => self.put::<Service>(serde_json::from_value(object)?)?,
                Some("EndpointSlice") => {
                    self.put::<EndpointSlice>(serde_json::from_value(object)?)?;
                }
                other => bail!("a Service with a {other:?}"),
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

    /// The same by another program, which becomes the agent: its words come before the agent's.
    ///
    /// # Errors
    /// Those of [`Agent::start`].
    pub fn start_by(&self, program: &[&str], flags: &[&str]) -> Result<Agent> {
        let (first, rest) = program.split_first().context("no program")?;
        let rest = rest.iter().map(Into::into).chain([binary()?.into()]);
        let arguments: Vec<_> = rest.chain(self.arguments(flags)).collect();
        Agent::start(self.lab, self.guard, Path::new(first), &arguments)
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

/// All objects of a kind, in a namespace if they have one.
fn api<K: Kind>(client: Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    if K::RESOURCE.is_namespaced() {
        Api::namespaced_with(client, namespace, &resource)
    } else {
        Api::all_with(client, &resource)
    }
}

fn wait<F: Future<Output = Result<()>>>(
    access: Access,
    deed: impl FnOnce(Client) -> F,
) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { deed(access.client().await?).await })
}
