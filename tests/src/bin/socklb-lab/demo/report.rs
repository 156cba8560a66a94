//! The demo's results, as a table and as JSON.
//!
//! A time must never decide whether the demo went well: only what became of the connections does.

use std::{collections::BTreeMap, fmt::Write, mem, net::SocketAddrV4, time::Duration};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use lab::{latency::Latency, pod::Pod};
use serde::Serialize;

use super::{
    objects::{PORT, Service},
    traffic::Totals,
};

/// What became of all connections.
pub(crate) struct Summary {
    services: Vec<ServiceSummary>,
    latency: Latency,
}

struct ServiceSummary {
    service: Service,
    backends: BTreeMap<SocketAddrV4, Latency>,
    connections: u64,
    refused: u64,
    failures: u64,
    failure: Option<String>,
}

impl Summary {
    /// `pods` are in the order of the identities that they tell.
    pub(crate) fn new(totals: Vec<Totals>, pods: &[Pod]) -> Self {
        let mut latency = Latency::default();
        let services = totals
            .into_iter()
            .map(|totals| {
                totals.backends.values().for_each(|backend| latency.merge(backend));
                ServiceSummary {
                    service: totals.service,
                    connections: totals.backends.values().map(Latency::count).sum(),
                    backends: totals
                        .backends
                        .into_iter()
                        .map(|(identity, backend)| {
                            (pods[usize::from(identity)].socket(PORT), backend)
                        })
                        .collect(),
                    refused: totals.refused,
                    failures: totals.failures,
                    failure: totals.failure,
                }
            })
            .collect();
        Self { services, latency }
    }

    /// Connections were made, and none failed.
    pub(crate) fn is_good(&self) -> bool {
        self.connections() > 0 && self.failures() == 0
    }

    fn connections(&self) -> u64 {
        self.latency.count()
    }

    fn failures(&self) -> u64 {
        self.services.iter().map(|service| service.failures).sum()
    }

    fn refused(&self) -> u64 {
        self.services.iter().map(|service| service.refused).sum()
    }
}

/// One line a second, where no table can be redrawn.
pub(crate) fn line(summary: &Summary) -> String {
    format!(
        "{} connections, {} refused, {} failed; connect p50 {} µs, p99 {} µs",
        summary.connections(),
        summary.refused(),
        summary.failures(),
        microseconds(&summary.latency, 0.5),
        microseconds(&summary.latency, 0.99),
    )
}

/// A row for each backend, and below it what went wrong.
pub(crate) fn table(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "service",
        "backend",
        "connections",
        "share",
        "refused",
        "p50 µs",
        "p99 µs",
    ]);
    for column in table.column_iter_mut() {
        // Seven columns fit a terminal of 80.
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for service in &summary.services {
        // Name and refusals stand on a Service's first row alone.
        let mut head = [service.service.name.to_string(), service.refused.to_string()];
        if service.backends.is_empty() {
            let [name, refused] = &head;
            table.add_row([name, "none", "0", "", refused, "", ""]);
        }
        for (backend, latency) in &service.backends {
            let [name, refused] = mem::take(&mut head);
            table.add_row([
                name,
                backend.to_string(),
                latency.count().to_string(),
                format!("{:.2} %", 100.0 * latency.count() as f64 / service.connections as f64),
                refused,
                microseconds(latency, 0.5),
                microseconds(latency, 0.99),
            ]);
        }
    }
    let mut text = table.to_string();
    for service in &summary.services {
        if let Some(failure) = &service.failure {
            let _ = write!(
                text,
                "\n{}: {} connections failed, the latest with: {failure}",
                service.service.name, service.failures
            );
        }
    }
    text
}

fn microseconds(latency: &Latency, part: f64) -> String {
    format!("{:.1}", Duration::from_nanos(latency.quantile_ns(part)).as_secs_f64() * 1e6)
}

/// The summary object: numbers of connections, by backend and in all; times in nanoseconds.
pub(crate) fn json(summary: &Summary) -> Result<String> {
    #[derive(Serialize)]
    struct Object {
        connections: u64,
        failures: u64,
        refused: BTreeMap<&'static str, u64>,
        backends: BTreeMap<String, u64>,
        connect_p50_ns: u64,
        connect_p99_ns: u64,
    }
    let services = &summary.services;
    let mut backends = BTreeMap::new();
    for (backend, latency) in services.iter().flat_map(|service| &service.backends) {
        *backends.entry(backend.to_string()).or_default() += latency.count();
    }
    Ok(serde_json::to_string(&Object {
        connections: summary.connections(),
        failures: summary.failures(),
        refused: services.iter().map(|service| (service.service.name, service.refused)).collect(),
        backends,
        connect_p50_ns: summary.latency.quantile_ns(0.5),
        connect_p99_ns: summary.latency.quantile_ns(0.99),
    })?)
}
