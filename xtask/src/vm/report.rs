//! What the matrix looks like: tables for people, JSON for programs.
//!
//! Nothing is judged here: whether a test passed is decided where the guest's words are read.

use std::{collections::BTreeMap, fmt::Write as _};

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::{Value, json};

use super::results::{Outcome, Results};

/// One kernel of the matrix.
pub(super) struct Row {
    /// Such as `6.1`.
    pub(super) version: &'static str,
    pub(super) seconds: u64,
    pub(super) results: Results,
}

impl Row {
    /// Passed, failed, unsupported.
    fn counts(&self) -> [usize; 3] {
        let count = |is: fn(&Outcome) -> bool| {
            self.results.tests.values().filter(|outcome| is(outcome)).count()
        };
        [
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::Lost)),
            count(|outcome| matches!(outcome, Outcome::Unsupported(_))),
        ]
    }

    pub(super) fn is_good(&self) -> bool {
        self.counts()[1] == 0 && self.results.errors.is_empty()
    }

    /// One line.
    pub(super) fn summary(&self) -> String {
        let [passed, failed, unsupported] = self.counts();
        let release = self.results.release.as_deref().unwrap_or("did not boot");
        let errors = self.results.errors.iter().map(|error| format!("\n  error: {error}"));
        format!(
            "Linux {} ({release}): {passed} passed, {failed} failed, {unsupported} unsupported, \
             in {} s{}",
            self.version,
            self.seconds,
            errors.collect::<String>()
        )
    }

    fn json(&self) -> Value {
        let [passed, failed, unsupported] = self.counts();
        let tests = self.results.tests.iter().map(|(name, outcome)| {
            let (word, reason) = match outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Failed(why) => ("failed", Some(why.as_str())),
                Outcome::Lost => ("failed", Some("the machine ended before it did")),
                Outcome::Unsupported(why) => ("unsupported", Some(why.as_str())),
            };
            json!({ "name": name, "outcome": word, "reason": reason })
        });
        json!({
            "kernel": self.version,
            "release": self.results.release,
            "seconds": self.seconds,
            "passed": passed,
            "failed": failed,
            "unsupported": unsupported,
            "errors": self.results.errors,
            "tests": tests.collect::<Vec<_>>(),
            "programs": self.results.programs,
        })
    }
}

/// `{"kernels": [...]}`, one line.
pub(super) fn json(rows: &[Row]) -> String {
    json!({ "kernels": rows.iter().map(Row::json).collect::<Vec<_>>() }).to_string()
}

/// All tests and all BPF programs on all kernels, and the reasons for what is unsupported.
pub(super) fn text(rows: &[Row]) -> String {
    let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut programs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (column, row) in rows.iter().enumerate() {
        for (name, outcome) in &row.results.tests {
            let word = match outcome {
                Outcome::Passed => "passed",
                Outcome::Failed(_) => "FAILED",
                Outcome::Lost => "lost",
                Outcome::Unsupported(why) => {
                    reasons.entry((name, why)).or_default().push(row.version);
                    "unsupported"
                }
            };
            let cells = tests.entry(name).or_insert_with(|| vec!["-"; rows.len()]);
            cells[column] = word;
        }
        for program in &row.results.programs {
            let name = program["name"].as_str().unwrap_or("?");
            let blank = || vec!["-".to_owned(); rows.len()];
            programs.entry(name).or_insert_with(blank)[column] = cost(program);
            if let Some(why) = program["reason"].as_str() {
                reasons.entry((name, why)).or_default().push(row.version);
            }
        }
    }
    let versions: Vec<&str> = rows.iter().map(|row| row.version).collect();
    let mut text = format!("{}\n", table("test", &versions, &tests));
    if !programs.is_empty() {
        let _ = writeln!(text, "\n{}", table("program (instructions, load)", &versions, &programs));
    }
    if !reasons.is_empty() {
        text += "\nunsupported:\n";
    }
    for ((name, why), versions) in reasons {
        let _ = writeln!(text, "  {name} on {}: {why}", versions.join(", "));
    }
    text + "\n" + &rows.iter().map(|row| row.summary() + "\n").collect::<String>()
}

/// What a BPF program costs on one kernel.
fn cost(program: &Value) -> String {
    match (program["instructions"].as_u64(), program["load_us"].as_u64()) {
        (Some(instructions), Some(load)) => format!("{instructions}, {load} µs"),
        // Before Linux 5.16 the kernel does not tell the instructions.
        (None, Some(load)) => format!("-, {load} µs"),
        _ => "unsupported".to_owned(),
    }
}

fn table<T: ToString>(what: &str, versions: &[&str], rows: &BTreeMap<&str, Vec<T>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([&[what], versions].concat());
    for (name, cells) in rows {
        let name = (*name).to_owned();
        table.add_row([name].into_iter().chain(cells.iter().map(ToString::to_string)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
    }
    table.trim_fmt()
}

/// What each failed test said. Of those that were lost with their machine there is nothing to say.
pub(super) fn failures(row: &Row) -> String {
    let failures = row.results.tests.iter().filter_map(|(name, outcome)| match outcome {
        Outcome::Failed(why) => Some(format!("---- {name} on Linux {} ----\n{why}\n", row.version)),
        _ => None,
    });
    failures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &'static str, outcome: Outcome, programs: Value) -> Row {
        let tests = BTreeMap::from([("connect::udp".to_owned(), outcome)]);
        let programs = programs.as_array().unwrap().clone();
        let results = Results { tests, programs, ..Results::default() };
        Row { version, seconds: 61, results }
    }

    fn rows() -> [Row; 2] {
        let old = Outcome::Unsupported("no cookie before 5.14".to_owned());
        let programs = json!([{ "name": "connect4", "instructions": 420, "load_us": 1700 }]);
        [row("5.10", old, json!([])), row("7.3", Outcome::Passed, programs)]
    }

    #[test]
    fn people_see_every_kernel_and_every_reason() {
        let text = text(&rows());
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "test 5.10 7.3",
            "connect::udp unsupported passed",
            "connect4 - 420, 1700 µs",
            "connect::udp on 5.10: no cookie before 5.14",
            "Linux 7.3 (did not boot): 1 passed, 0 failed, 0 unsupported, in 61 s",
        ] {
            assert!(lines.iter().any(|is| is == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn programs_see_the_same() {
        let value: Value = serde_json::from_str(&json(&rows())).unwrap();
        let [old, new] = [0, 1].map(|at| &value["kernels"][at]);
        assert_eq!((&old["unsupported"], &new["passed"]), (&json!(1), &json!(1)));
        assert_eq!(old["tests"][0]["reason"], "no cookie before 5.14");
        assert_eq!(new["programs"][0]["load_us"], 1700);
    }

    #[test]
    fn a_failed_test_or_an_error_is_not_good() {
        assert!(rows().iter().all(Row::is_good));
        let failed = row("6.1", Outcome::Failed("why".to_owned()), json!([]));
        assert!(!failed.is_good() && failures(&failed).contains("why"));
        let [mut broken, _] = rows();
        broken.results.errors.push("it stopped".to_owned());
        assert!(!broken.is_good() && broken.summary().contains("it stopped"));
    }
}
