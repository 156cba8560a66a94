//! What is tested: the project's programs, built as `cargo xtask test` builds them, and the names
//! of the tests in them.
//!
//! Names are asked of the test programs here, before a kernel boots: a test of which the guest says
//! nothing must never go unnoticed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{setup, step, workspace::Workspace, workspace::cargo};

/// The package whose tests run on the kernel.
const PACKAGE: &str = "lb-tests";

/// Test programs that ask nothing of a kernel that the others do not: those of API servers. They take
/// long where the processor is emulated, and run there only if a filter names them.
const OF_NO_KERNEL: [&str; 4] = ["apiserver", "kube_crash", "kube_faults", "kube_objects"];

/// A test program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// As in `tests/NAME.rs`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The tests to run, by the names that the program gives them.
    pub(super) tests: Vec<String>,
}

/// Everything that the guest needs of the project.
pub(super) struct Payload {
    pub(super) tests: Vec<Program>,
    /// The agent, and what the tests start beside it. All paths are absolute, and compiled into
    /// the tests.
    pub(super) programs: Vec<PathBuf>,
}

impl Payload {
    /// Builds the programs, and picks the tests whose `PROGRAM::TEST` contains one of `filters`.
    pub(super) fn build(workspace: &Workspace, filters: &[String]) -> Result<Self> {
        setup::ensure(workspace)?;
        let mut build = cargo();
        // The same packages as in `cargo xtask test`: another choice would build dependencies
        // again, with other features. Integration tests bring their packages' programs along.
        build
            .args(["test", "--no-run", "--workspace", "--exclude=lb-ebpf", "--test=*"])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit());
        let output = build.output().context("cannot run cargo")?;
        step::check_interrupt()?;
        ensure!(output.status.success(), "the build failed; cargo's messages above say why");
        let mut payload = Self::parse(&String::from_utf8_lossy(&output.stdout));
        for name in ["socklb", "socklb-lab"] {
            ensure!(payload.program(name).is_some(), "cargo built no {name}");
        }
        for program in &mut payload.tests {
            program.tests = list(&program.path)?;
            program.tests.retain(|test| is_wanted(&program.name, test, filters));
        }
        if filters.is_empty() {
            eprintln!("left out, since they ask nothing of a kernel: {}", OF_NO_KERNEL.join(", "));
        }
        payload.tests.retain(|program| !program.tests.is_empty());
        ensure!(!payload.tests.is_empty(), "no test's name contains {}", filters.join(" or "));
        Ok(payload)
    }

    /// The path of one of the project's programs.
    pub(super) fn program(&self, name: &str) -> Option<&Path> {
        let found = self.programs.iter().find(|path| path.file_name().is_some_and(|of| of == name));
        found.map(PathBuf::as_path)
    }

    /// How many tests there are.
    pub(super) fn count(&self) -> usize {
        self.tests.iter().map(|program| program.tests.len()).sum()
    }

    /// Reads cargo's messages, a JSON object a line.
    fn parse(messages: &str) -> Self {
        let (mut tests, mut programs) = (Vec::new(), Vec::new());
        for line in messages.lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            let Some(path) = message["executable"].as_str().map(PathBuf::from) else { continue };
            let package = message["package_id"].as_str().unwrap_or_default();
            let target = &message["target"];
            match (target["kind"][0].as_str(), target["name"].as_str()) {
                (Some("bin"), _) => programs.push(path),
                (Some("test"), Some(name)) if package.contains(PACKAGE) => {
                    tests.push(Program { name: name.to_owned(), path, tests: Vec::new() });
                }
                _ => {}
            }
        }
        tests.sort_by(|one, other| one.name.cmp(&other.name));
        Self { tests, programs }
    }
}

fn is_wanted(program: &str, test: &str, filters: &[String]) -> bool {
    let name = format!("{program}::{test}");
    if filters.is_empty() {
        return !OF_NO_KERNEL.contains(&program);
    }
    filters.iter().any(|filter| name.contains(filter.as_str()))
}

fn list(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program)
        .args(["--list", "--format=terse"])
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} does not list its tests: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_name_tests_and_programs() {
        let messages = r#"
{"reason":"compiler-artifact","package_id":"path+file:///c/tests#lb-tests@0.1.0","target":{"kind":["test"],"name":"lab"},"executable":"/t/deps/lab-1"}
{"reason":"compiler-artifact","package_id":"path+file:///c/lb-userspace#0.1.0","target":{"kind":["test"],"name":"interleaving"},"executable":"/t/deps/i-1"}
{"reason":"compiler-artifact","package_id":"path+file:///c/lb-userspace#0.1.0","target":{"kind":["bin"],"name":"socklb"},"executable":"/t/socklb"}
{"reason":"compiler-artifact","package_id":"path+file:///c/lb-common#0.1.0","target":{"kind":["lib"],"name":"lb_common"},"executable":null}
{"reason":"build-finished","success":true}
"#;
        let payload = Payload::parse(messages);
        assert_eq!(payload.program("socklb"), Some(Path::new("/t/socklb")));
        assert_eq!(payload.program("lb"), None);
        let [lab] = &payload.tests[..] else { panic!("{:?}", payload.tests) };
        assert_eq!((lab.name.as_str(), lab.path.to_str()), ("lab", Some("/t/deps/lab-1")));
    }

    #[test]
    fn a_filter_may_name_program_and_test() {
        let filters = ["agent::point_2".to_owned(), "churn".to_owned()];
        assert!(is_wanted("agent", "point_27_takeover", &filters));
        assert!(is_wanted("connect", "churn_of_backends", &filters));
        assert!(!is_wanted("connect", "point_27_takeover", &filters));
        assert!(is_wanted("connect", "anything", &[]));
        assert!(!is_wanted("kube_crash", "anything", &[]));
        assert!(is_wanted("kube_crash", "anything", &["kube_crash::".to_owned()]));
    }
}
