//! The source that the command line names.
//!
//! No more than one may run: the model does not know which source an object is from.

use anyhow::Result;
use tracing::{info, warn};

use super::settings;
use crate::{
    cli::Run,
    metrics::Metrics,
    source::{Arrival, Event, kube, manifests},
};

/// A source that runs until it is dropped.
#[expect(dead_code, reason = "held for what its end does")]
pub(super) enum Source {
    Manifests(manifests::Watcher),
    Cluster(kube::Watcher),
}

/// Starts it. `out` gets its events.
pub(super) fn start(
    options: &Run,
    mut out: impl FnMut(Event, Option<Arrival>) + Send + 'static,
    metrics: Metrics,
) -> Result<Source> {
    if let Some(folder) = &options.manifests {
        let watcher =
            manifests::watch(folder, move |event| out(event, None), |report| warn!("{report}"))?;
        return Ok(Source::Manifests(watcher));
    }
    let settings = settings::cluster(options);
    if settings.node.is_none() {
        warn!(
            "without --node-name no endpoint is on this node (internalTrafficPolicy: Local), no \
             topology hint applies, and no Pod can opt out"
        );
    }
    info!("watching the cluster as {} says", settings.access);
    Ok(Source::Cluster(kube::watch(settings, out, metrics)?))
}

impl kube::Observer for Metrics {
    fn listed(&mut self, resource: &'static str) {
        Metrics::listed(self, resource);
    }

    fn failed(&mut self, resource: &'static str) {
        Metrics::failed(self, resource);
    }
}
