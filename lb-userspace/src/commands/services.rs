//! `socklb services`: prints the tables.
//!
//! Must never write to a map, nor need the agent: what is printed is what the programs see.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::NOTHING};

use crate::{
    cli::{Format, PINS, Services},
    dataplane::inspect::{FrontendView, Inspector, Location},
};

/// Backends that a row of the table shows before it says how many more there are.
const SHOWN: usize = 3;

/// Prints every frontend.
pub fn services(options: &Services) -> Result<()> {
    let pins = options.pin.clone().or_else(|| Path::new(PINS).exists().then(|| PINS.into()));
    let location = Location { ids: options.map.iter().cloned().collect(), pins };
    let frontends = Inspector::open(&location)?.frontends()?;
    let text = match options.output {
        Format::Json => serde_json::to_string_pretty(&frontends)?,
        Format::Table => table(&frontends).to_string(),
    };
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn table(frontends: &[FrontendView]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["SERVICE", "FRONTEND", "SLOT", "COUNT", "BACKENDS", "NOTE"]);
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for view in frontends {
        table.add_row([
            view.name.clone(),
            view.place(),
            view.slot.to_string(),
            view.backends.len().to_string(),
            backends(view),
            note(view),
        ]);
    }
    table
}

fn backends(view: &FrontendView) -> String {
    let mut shown: Vec<String> =
        view.backends.iter().take(SHOWN).map(|backend| backend.address.to_string()).collect();
    match view.backends.len() {
        0 if view.passed => shown.push("left alone".into()),
        0 => shown.push("none: refused".into()),
        count if count > SHOWN => shown.push(format!("{} more", count - SHOWN)),
        _ => {}
    }
    shown.join(", ")
}

fn note(view: &FrontendView) -> String {
    let host = view.host_only.then(|| "host only".to_owned());
    let affinity = (view.affinity > 0).then(|| format!("affinity {} s", view.affinity));
    host.into_iter().chain(affinity).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::BackendView;

    fn view(backends: u32) -> FrontendView {
        let backend = |id| BackendView { address: format!("10.0.0.{id}:80").parse().unwrap(), id };
        FrontendView {
            name: "ns/web/TCP".into(),
            address: "10.96.0.10".parse().unwrap(),
            port: 80,
            protocol: "TCP".into(),
            slot: 4,
            id: 2,
            affinity: 0,
            host_only: false,
            passed: false,
            backends: (1..=backends).map(backend).collect(),
        }
    }

    fn row(view: FrontendView) -> String {
        let table = table(&[view]).to_string();
        let row = table.lines().nth(1).expect("a row");
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_row_says_what_becomes_of_a_connect() {
        let begin = "ns/web/TCP 10.96.0.10:80/TCP 4";
        assert_eq!(row(view(0)), format!("{begin} 0 none: refused"));
        assert_eq!(row(view(1)), format!("{begin} 1 10.0.0.1:80"));
        let four = "10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80, 1 more";
        assert_eq!(row(view(4)), format!("{begin} 4 {four}"));
        let passed = FrontendView { passed: true, ..view(0) };
        assert_eq!(row(passed), format!("{begin} 0 left alone"));
        let noted = FrontendView { host_only: true, affinity: 10_800, ..view(1) };
        assert_eq!(row(noted), format!("{begin} 1 10.0.0.1:80 host only, affinity 10800 s"));
    }

    #[test]
    fn an_address_that_is_left_to_others_has_no_port() {
        let known = |address: &str| {
            let address = address.parse().unwrap();
            row(FrontendView { address, port: 0, protocol: "any".into(), passed: true, ..view(0) })
        };
        assert_eq!(known("10.96.0.10"), "ns/web/TCP 10.96.0.10:* 4 0 left alone");
        assert_eq!(known("fd00::a"), "ns/web/TCP [fd00::a]:* 4 0 left alone");
    }
}
