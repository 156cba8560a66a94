//! `socklb check`: what this kernel offers, and what will not work.
//!
//! It must never attach a program, pin anything, or leave anything behind: it only loads, reads,
//! and closes one UDP socket of its own.

mod features;
mod ports;
mod programs;
mod table;

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use serde::Serialize;

use self::{features::Feature, programs::Program};
use crate::cli::Check;

/// All that was found out.
#[derive(Debug, Serialize)]
struct Report {
    /// As `uname -r` says it.
    kernel: String,
    programs: Vec<Program>,
    features: Vec<Feature>,
}

/// Prints what works here. Fails if no connection could be balanced.
pub fn check(options: &Check) -> Result<()> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let loaded = programs::load();
    let features = features::all(&kernel, &options.pin, loaded.refuses_with_errno);
    let report = Report { kernel, programs: loaded.programs, features };
    let text =
        if options.json { serde_json::to_string_pretty(&report)? } else { table::of(&report) };
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    let missing = report.missing();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("no connection can be balanced here, for want of: {}", missing.join(", "))
}

impl Report {
    /// What balancing cannot do without, and is not there.
    fn missing(&self) -> Vec<&str> {
        let features =
            self.features.iter().filter(|feature| feature.required && !feature.supported);
        let programs =
            self.programs.iter().filter(|program| program.is_required() && !program.supported);
        features.map(|feature| feature.name).chain(programs.map(|program| &*program.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dataplane::{Loaded, hooks::HOOKS};

    fn report(error: Option<&str>, required: bool, supported: bool) -> Report {
        let program = |name: &'static str, error: Option<&str>| {
            let hook = HOOKS.into_iter().find(|hook| hook.name == name).expect("a hook");
            let (instructions, took) = (Some(300), Duration::from_micros(1_234));
            Program::from(&Loaded { hook, instructions, took, error: error.map(Into::into) })
        };
        Report {
            kernel: "6.1.0".into(),
            programs: vec![program("connect4", error), program("recvmsg6", Some("no\nlog"))],
            features: vec![Feature {
                name: "thing",
                supported,
                consequence: (!supported).then(|| "it does not work".into()),
                required,
            }],
        }
    }

    #[test]
    fn only_what_balancing_cannot_do_without_is_missing() {
        assert!(report(None, true, true).missing().is_empty());
        assert!(report(None, false, false).missing().is_empty());
        assert_eq!(report(Some("refused"), true, false).missing(), ["thing", "connect4"]);
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = serde_json::to_value(report(None, true, false)).unwrap();
        let expected = serde_json::json!({
            "kernel": "6.1.0",
            "programs": [
                {
                    "name": "connect4", "instructions": 300, "load_us": 1234,
                    "supported": true, "reason": null
                },
                {
                    "name": "recvmsg6", "instructions": null, "load_us": null, "supported": false,
                    "reason": "no; recvfrom() on IPv6 sockets shows the backend's address"
                },
            ],
            "features": [
                {"name": "thing", "supported": false, "consequence": "it does not work"},
            ],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn people_see_every_program_and_feature() {
        let text = table::of(&report(None, true, false));
        for part in ["Linux 6.1.0", "connect4", "300", "1.2 ms", "recvmsg6", "thing", "it does not"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
