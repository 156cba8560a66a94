//! What the agent counts and times, as Prometheus reads it.
//!
//! This module must never hold up whoever tells it something.

use std::time::{Instant, SystemTime};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{close::Report, source::Arrival};

/// All metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// From a watch's word to the kernel's tables.
    publication: Histogram,
    /// From what changed in the cluster to the kernel's tables: point 30 of the semantics.
    network_programming: Histogram,
    decisions: Family<Decision, Counter>,
    failures: Counter,
    waits: Counter,
    closed: Family<Transport, Counter>,
    missed: Counter,
    lists: Family<Resource, Counter>,
    errors: Family<Resource, Counter>,
}

/// A resource of the API, as `endpointslices`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

/// The name of a reason in `lb_counters`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    decision: &'static str,
}

/// "tcp" or "udp".
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    protocol: &'static str,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self {
            // 16 µs to half a second.
            publication: Histogram::new(exponential_buckets(16e-6, 2.0, 16)),
            // As kube-proxy's, and finer where there is something to see: 1 ms to 4 minutes.
            network_programming: Histogram::new(exponential_buckets(1e-3, 2.0, 19)),
            decisions: Family::default(),
            failures: Counter::default(),
            waits: Counter::default(),
            closed: Family::default(),
            missed: Counter::default(),
            lists: Family::default(),
            errors: Family::default(),
        }
    }

    /// The programs have decided so, so often in all.
    pub(crate) fn decided(&self, decision: lb_common::Counter, times: u64) {
        let count = self.decisions.get_or_create(&Decision { decision: decision.name() });
        count.inc_by(times.saturating_sub(count.get()));
    }

    /// So many frontends could not be brought to their wanted state.
    pub(crate) fn failed_to_publish(&self, frontends: usize) {
        self.failures.inc_by(frontends as u64);
    }

    /// Publishing has waited so often for a grace period, in all.
    pub(crate) fn waited(&self, times: u64) {
        self.waits.inc_by(times.saturating_sub(self.waits.get()));
    }

    /// A pass over the sockets of backends that are gone has ended.
    pub(crate) fn swept(&self, report: &Report) {
        for (protocol, closed) in [("tcp", report.tcp), ("udp", report.udp)] {
            self.closed.get_or_create(&Transport { protocol }).inc_by(closed as u64);
        }
        self.missed.inc_by(report.missed as u64);
    }

    /// What arrived so is in the tables now.
    pub(crate) fn published(&self, arrivals: &[Arrival]) {
        let (now, clock) = (Instant::now(), SystemTime::now());
        for Arrival { at, trigger } in arrivals {
            self.publication.observe(now.duration_since(*at).as_secs_f64());
            // A cause that is ahead of this node's clock took no time that can be told.
            if let Some(took) = trigger.and_then(|trigger| clock.duration_since(trigger).ok()) {
                self.network_programming.observe(took.as_secs_f64());
            }
        }
    }

    /// A resource has been listed as a whole.
    pub(crate) fn listed(&self, resource: &'static str) {
        self.lists.get_or_create(&Resource { resource }).inc();
    }

    /// Watching a resource has failed once.
    pub(crate) fn failed(&self, resource: &'static str) {
        self.errors.get_or_create(&Resource { resource }).inc();
    }

    /// All of them in the text format of Prometheus (OpenMetrics).
    pub(crate) fn text(&self) -> String {
        let mut registry = Registry::with_prefix("socklb");
        registry.register_with_unit(
            "publication_duration",
            "From the arrival of a change by a watch to the tables in the kernel",
            Unit::Seconds,
            self.publication.clone(),
        );
        registry.register_with_unit(
            "network_programming_duration",
            "From the change of a Pod or Service that a slice names \
             (endpoints.kubernetes.io/last-change-trigger-time) to the tables in the kernel",
            Unit::Seconds,
            self.network_programming.clone(),
        );
        registry.register(
            "decisions",
            "What the programs in the kernel decided about connects, first datagrams and binds, since \
             this agent's tables were made",
            self.decisions.clone(),
        );
        registry.register(
            "publication_failures",
            "Frontends that could not be brought to a wanted state; those that are tried again later count once",
            self.failures.clone(),
        );
        registry.register(
            "publication_waits",
            "Times that publishing waited for a grace period, since readers may have held what was left of a table",
            self.waits.clone(),
        );
        registry.register(
            "sockets_closed",
            "Connected sockets closed because their backend stopped serving",
            self.closed.clone(),
        );
        registry.register(
            "sockets_missed",
            "Sockets whose backend stopped serving and that were not closed: not found in any network \
             namespace that the agent sees, closed or connected elsewhere meanwhile, or refused by the kernel",
            self.missed.clone(),
        );
        registry.register(
            "watch_lists",
            "Lists of a resource that were read to their end: the first, and those after a watch that \
             could not go on",
            self.lists.clone(),
        );
        registry.register(
            "watch_errors",
            "Failures of the watch of a resource, each of which was tried again",
            self.errors.clone(),
        );
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_reference_names_every_metric_and_every_decision() {
        let reference = include_str!("../../docs/reference.md");
        let text = filled().text();
        let described = text.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            Some(format!("| `{name}{}` |", if kind == "counter" { "_total" } else { "" }))
        });
        let decisions = lb_common::Counter::ALL.into_iter();
        let decisions = decisions.map(|it| format!("| {} | `{}` |", it as u32, it.name()));
        let (metrics, decisions): (Vec<_>, Vec<_>) = (described.collect(), decisions.collect());
        assert_eq!(metrics.len(), 9, "{text}");
        for row in metrics.iter().chain(&decisions) {
            assert!(reference.contains(row.as_str()), "{row} is not in docs/reference.md");
        }
    }

    /// With something counted under every name.
    fn filled() -> Metrics {
        let metrics = Metrics::new();
        let trigger = SystemTime::now() - Duration::from_secs(3);
        let ahead = SystemTime::now() + Duration::from_secs(60);
        let at = Instant::now();
        let arrivals = [Some(trigger), Some(ahead), None].map(|trigger| Arrival { at, trigger });
        metrics.published(&arrivals);
        metrics.decided(lb_common::Counter::NoBackend, 3);
        metrics.decided(lb_common::Counter::NoBackend, 7);
        metrics.failed_to_publish(2);
        metrics.waited(3);
        metrics.waited(5);
        metrics.swept(&Report { udp: 4, missed: 1, ..Report::default() });
        metrics.swept(&Report { udp: 1, tcp: 2, ..Report::default() });
        metrics.listed("services");
        metrics.failed("endpointslices");
        metrics
    }

    #[test]
    fn point_30_what_arrived_is_timed_from_its_cause_on() {
        let text = filled().text();
        for line in [
            "socklb_publication_duration_seconds_count 3",
            "socklb_network_programming_duration_seconds_count 1",
            "socklb_network_programming_duration_seconds_bucket{le=\"2.048\"} 0",
            "socklb_network_programming_duration_seconds_bucket{le=\"4.096\"} 1",
            "socklb_decisions_total{decision=\"no_backend\"} 7",
            "socklb_publication_failures_total 2",
            "socklb_publication_waits_total 5",
            "socklb_sockets_closed_total{protocol=\"udp\"} 5",
            "socklb_sockets_closed_total{protocol=\"tcp\"} 2",
            "socklb_sockets_missed_total 1",
            "socklb_watch_lists_total{resource=\"services\"} 1",
            "socklb_watch_errors_total{resource=\"endpointslices\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
