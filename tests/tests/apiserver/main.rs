//! The lab's double of the API server, seen by clients that nobody here wrote: `kube`'s, and its
//! watcher.
#![forbid(unsafe_code)]

mod faults;
mod lists;
mod real;
mod watches;

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::{
    Client,
    core::{ObjectMeta, Status},
};
use lab::apiserver::{Double, Options};
use tokio::time::timeout;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` with a double, and a client of it, isolated.
fn with<F>(options: Options, body: impl FnOnce(Double, Client) -> F)
where
    F: Future<Output = Result<()>>,
{
    lab::isolated(|_| {
        let server = Double::start(options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = server.access().client().await?;
            timeout(PATIENCE, body(server, client)).await.context("it takes too long")?
        })
    });
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}

/// A Service of one port, in the namespace `default`.
fn service(name: &str) -> Service {
    let port = ServicePort { port: 80, ..ServicePort::default() };
    let spec = ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() };
    let metadata = ObjectMeta { namespace: Some("default".into()), ..named(name) };
    Service { metadata, spec: Some(spec), ..Service::default() }
}

fn labelled(name: &str, labels: &[(&str, &str)]) -> Service {
    let mut service = service(name);
    let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    service.metadata.labels = Some(labels.collect());
    service
}

/// The `Status` that a request was refused with.
fn refusal<T>(outcome: kube::Result<T>) -> Result<Status> {
    match outcome {
        Err(kube::Error::Api(status)) => Ok(*status),
        Err(error) => Err(error).context("no Status"),
        Ok(_) => anyhow::bail!("not refused"),
    }
}

fn refused<T>(outcome: kube::Result<T>, code: u16, reason: &str) -> Result<Status> {
    let status = refusal(outcome)?;
    ensure!(status.code == code && status.reason == reason, "{status:?}");
    Ok(status)
}
