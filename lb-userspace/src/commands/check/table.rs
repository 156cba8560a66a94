//! The report for people.
//!
//! Must never ask the kernel, nor know more than JSON tells: it shows what the report holds.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};

use super::Report;

pub(super) fn of(report: &Report) -> String {
    let mut programs = table(["PROGRAM", "LOADS", "INSTRUCTIONS", "TIME", "NOTE"]);
    for column in [2, 3] {
        if let Some(column) = programs.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for program in &report.programs {
        programs.add_row([
            program.name.clone(),
            yes_or_no(program.supported),
            program.instructions.map_or_else(|| "-".into(), |count| count.to_string()),
            program.load_us.map_or_else(|| "-".into(), milliseconds),
            program.reason.clone().unwrap_or_default(),
        ]);
    }
    let mut features = table(["FEATURE", "THERE", "WITHOUT IT"]);
    for feature in &report.features {
        features.add_row([
            feature.name.into(),
            yes_or_no(feature.supported),
            feature.consequence.clone().unwrap_or_default(),
        ]);
    }
    format!("Linux {}\n\n{programs}\n\n{features}", report.kernel)
}

fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.into()
}

fn milliseconds(micros: u128) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}
