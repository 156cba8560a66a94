//! `socklb services`: prints the tables.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
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
    table.load_preset(NOTHING).set_header(["SERVICE", "FRONTEND", "SLOT", "COUNT", "BACKENDS"]);
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for view in frontends {
        let mut backends: Vec<String> =
            view.backends.iter().take(SHOWN).map(|backend| backend.address.to_string()).collect();
        match view.backends.len() {
            0 if view.passed => backends.push("left alone".into()),
            0 => backends.push("none: refused".into()),
            count if count > SHOWN => backends.push(format!("{} more", count - SHOWN)),
            _ => {}
        }
        table.add_row([
            view.name.clone(),
            format!("{}/{}", SocketAddr::new(view.address, view.port), view.protocol),
            view.slot.to_string(),
            view.backends.len().to_string(),
            backends.join(", "),
        ]);
    }
    table
}
