//! The results of `bench connect`, as a table and as JSON.
//!
//! What was not timed must never be shown as a time of 0.

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;

use super::case::Case;

/// One case's figures. Times and a ratio are there where whole calls were timed.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    frontends: u32,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    /// The case that the ratio is to.
    direct: Option<String>,
    ratio_to_direct: Option<f64>,
    /// Zero where there is no program.
    program_ns: f64,
}

/// The figures of all cases.
pub(super) fn rows(cases: &[Case]) -> Vec<Row> {
    let medians_of = |name: &str| {
        cases.iter().find(|case| case.name == name).map(|case| case.medians.as_slice())
    };
    let row = |case: &Case| {
        let direct = case.direct.as_deref().and_then(medians_of).unwrap_or_default();
        let ratios =
            case.medians.iter().zip(direct).map(|(&own, &direct)| own as f64 / direct as f64);
        let quantile = |part| (case.latency.count() > 0).then(|| case.latency.quantile_ns(part));
        Row {
            name: case.name.clone(),
            frontends: case.frontends(),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            direct: case.direct.clone(),
            ratio_to_direct: median(ratios),
            program_ns: median(case.program_ns.iter().copied()).unwrap_or(0.0),
        }
    };
    cases.iter().map(row).collect()
}

/// The upper one of two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// One object on one line.
pub(super) fn json(rows: &[Row]) -> Result<String> {
    #[derive(Serialize)]
    struct Summary<'a> {
        cases: &'a [Row],
    }
    Ok(serde_json::to_string(&Summary { cases: rows })?)
}

/// A line for each case.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "case",
        "frontends",
        "p50 µs",
        "p99 µs",
        "to direct",
        "program ns",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let micros = |ns: u64| format!("{:.2}", ns as f64 / 1e3);
    for row in rows {
        table.add_row([
            row.name.clone(),
            row.frontends.to_string(),
            row.p50_ns.map_or_else(String::new, micros),
            row.p99_ns.map_or_else(String::new, micros),
            row.ratio_to_direct.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
            format!("{:.1}", row.program_ns),
        ]);
    }
    table
}
