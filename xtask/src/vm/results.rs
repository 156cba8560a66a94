//! What the guest tells, line by line, and what it means for each test.
//!
//! A test counts as passed only if its program said so and no skip was noted for it. Whatever is not
//! told counts as failed.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::payload::{Payload, Program};

/// How many of a test program's last lines are kept for tests that it did not report.
const TAIL: usize = 20;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// With what it said.
    Failed(String),
    /// The machine ended before it did.
    Lost,
    /// This kernel or this guest lacks what it needs.
    Unsupported(String),
}

/// Everything about one kernel.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// What `uname -r` says, if it booted.
    pub(super) release: Option<String>,
    /// By `PROGRAM::TEST`.
    pub(super) tests: BTreeMap<String, Outcome>,
    /// What `socklb check --json` says of each BPF program, as it says it.
    pub(super) programs: Vec<Value>,
    /// What went wrong beside tests.
    pub(super) errors: Vec<String>,
}

/// Listens to a guest.
pub(super) struct Listener<'a> {
    payload: &'a Payload,
    results: Results,
    running: Option<&'a Program>,
    tail: VecDeque<String>,
    /// The test that was announced, and has not ended on the same line.
    pending: Option<String>,
    /// The failed test whose output is being read, and that output.
    failure: Option<(String, String)>,
    check: String,
    check_errors: String,
}

impl<'a> Listener<'a> {
    pub(super) fn new(payload: &'a Payload) -> Self {
        Self {
            payload,
            results: Results::default(),
            running: None,
            tail: VecDeque::with_capacity(TAIL),
            pending: None,
            failure: None,
            check: String::new(),
            check_errors: String::new(),
        }
    }

    /// How many tests have ended.
    pub(super) fn count(&self) -> usize {
        self.results.tests.len()
    }

    /// Takes one line. Returns whether it is the last one.
    pub(super) fn hear(&mut self, line: &str) -> bool {
        let Some((verb, rest)) = line.strip_prefix('@').map(|line| {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            (verb, rest.to_owned())
        }) else {
            self.hear_test(line);
            return false;
        };
        match verb {
            "kernel" => self.results.release = Some(rest),
            "broken" => self.results.errors.push(rest),
            "begin" => self.running = self.payload.tests.iter().find(|test| test.name == rest),
            "skip" => {
                let (test, reason) = rest.split_once('\t').unwrap_or((&rest, "no reason given"));
                let outcome = Outcome::Unsupported(reason.to_owned());
                self.settle(test, outcome);
            }
            "end" => self.end(&rest),
            "check" => self.check += &format!("{rest}\n"),
            "check-error" => self.check_errors += &format!("{rest}\n"),
            "checked" => self.checked(&rest),
            "done" => return true,
            _ => self.hear_test(line),
        }
        false
    }

    /// What is known when the guest has ended, in order or, with `error`, before it told all.
    pub(super) fn finish(mut self, error: Option<String>) -> Results {
        for program in &self.payload.tests {
            for test in &program.tests {
                let name = format!("{}::{test}", program.name);
                self.results.tests.entry(name).or_insert(Outcome::Lost);
            }
        }
        self.results.errors.extend(error);
        self.results
    }

    /// A line of a test program's own.
    fn hear_test(&mut self, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());

        let header = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(test) = header {
            self.end_failure();
            self.failure = Some((test.to_owned(), String::new()));
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.end_failure();
        } else if let Some((_, output)) = &mut self.failure {
            *output += &format!("{line}\n");
        } else if let Some((test, result)) = announced(line) {
            match outcome(result) {
                Some(outcome) => self.settle(test, outcome),
                // A process that the test started wrote in between; the result comes later.
                None => self.pending = Some(test.to_owned()),
            }
        } else if let (Some(test), Some(outcome)) = (&self.pending, outcome(line)) {
            let test = test.clone();
            self.pending = None;
            self.settle(&test, outcome);
        }
    }

    /// Notes how a test of the running program ended. A failure stays one.
    fn settle(&mut self, test: &str, outcome: Outcome) {
        let Some(program) = self.running else { return };
        let name = format!("{}::{test}", program.name);
        if !matches!(self.results.tests.get(&name), Some(Outcome::Failed(_))) {
            self.results.tests.insert(name, outcome);
        }
    }

    fn end_failure(&mut self) {
        let (Some(program), Some((test, output))) = (self.running, self.failure.take()) else {
            return;
        };
        let outcome = Outcome::Failed(output.trim().to_owned());
        self.results.tests.insert(format!("{}::{test}", program.name), outcome);
    }

    /// The running program has ended: nothing more is told of its tests.
    fn end(&mut self, code: &str) {
        self.end_failure();
        self.pending = None;
        let said = Vec::from(std::mem::take(&mut self.tail)).join("\n");
        let Some(program) = self.running else { return };
        for test in &program.tests {
            if !self.results.tests.contains_key(&format!("{}::{test}", program.name)) {
                let why = format!("not reported by its program, which ended with {code}:\n{said}");
                self.settle(test, Outcome::Failed(why));
            }
        }
        let is_ours = |name: &&String| {
            name.strip_prefix(&program.name).is_some_and(|rest| rest.starts_with("::"))
        };
        let mut ours = self.results.tests.iter().filter(|(name, _)| is_ours(name));
        if code != "0" && !ours.any(|(_, outcome)| matches!(outcome, Outcome::Failed(_))) {
            let error = format!("{} ended with {code}, but no test failed:\n{said}", program.name);
            self.results.errors.push(error);
        }
        self.running = None;
    }

    /// `socklb check` has ended.
    fn checked(&mut self, code: &str) {
        match serde_json::from_str::<Value>(&self.check) {
            Ok(Value::Object(mut check)) => {
                if let Some(Value::Array(programs)) = check.remove("programs") {
                    self.results.programs = programs;
                }
            }
            _ => self.results.errors.push(format!(
                "socklb check --json ended with {code}, and told no JSON object: {}",
                self.check_errors.trim()
            )),
        }
    }
}

/// Reads `test NAME ... RESULT`.
fn announced(line: &str) -> Option<(&str, &str)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.strip_suffix(" - should panic").unwrap_or(name), result))
}

fn outcome(result: &str) -> Option<Outcome> {
    match result.trim() {
        "ok" => Some(Outcome::Passed),
        "FAILED" => Some(Outcome::Failed("it said nothing".to_owned())),
        result if result.starts_with("ignored") => Some(Outcome::Unsupported(result.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(tests: &[&str]) -> Payload {
        let tests = tests.iter().map(|&test| test.to_owned()).collect();
        let program = Program { name: "lab".to_owned(), path: "/lab".into(), tests };
        Payload { tests: vec![program], programs: Vec::new() }
    }

    fn hear(payload: &Payload, text: &str) -> (bool, Results) {
        let mut listener = Listener::new(payload);
        let done = text.lines().map(|line| listener.hear(line)).last();
        (done.unwrap_or_default(), listener.finish(None))
    }

    #[test]
    fn each_test_gets_what_its_program_says_and_a_skip_is_no_pass() {
        let payload = payload(&["a", "m::b", "c", "d", "e"]);
        let text = "\
\n@kernel 6.1.0\n@begin lab\n\nrunning 5 tests\ntest a ... ok\ntest m::b ... ok\n\
test c - should panic ... noise\nnoise\nok\ntest d ... FAILED\ntest e ... ignored, slow\n\nfailures:\n\n\
---- d stdout ----\nit broke\ntest a ... FAILED\n\n\nfailures:\n    d\n\n\
test result: FAILED. 3 passed; 1 failed\n\n@skip m::b\tno veth\n@end 101\n\
@check {\"programs\": []}\n@checked 0\n@done";
        let (done, results) = hear(&payload, text);
        assert!(done);
        assert_eq!(results.release.as_deref(), Some("6.1.0"));
        let outcomes: Vec<_> = results.tests.into_iter().collect();
        let expected = [
            ("lab::a", Outcome::Passed),
            ("lab::c", Outcome::Passed),
            ("lab::d", Outcome::Failed("it broke\ntest a ... FAILED".to_owned())),
            ("lab::e", Outcome::Unsupported("ignored, slow".to_owned())),
            ("lab::m::b", Outcome::Unsupported("no veth".to_owned())),
        ];
        assert_eq!(outcomes, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
        assert!(results.errors.is_empty() && results.programs.is_empty());
    }

    #[test]
    fn what_is_not_told_has_failed() {
        let payload = payload(&["a", "b"]);
        let failed = |results: &Results, name: &str| match &results.tests[name] {
            Outcome::Failed(why) => why.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let (done, results) = hear(&payload, "@begin lab\ntest a ... ok\nfatal: no\n@end 139");
        assert!(!done && results.tests["lab::a"] == Outcome::Passed);
        let why = failed(&results, "lab::b");
        assert!(why.contains("139") && why.contains("fatal: no"), "{why}");

        let (_, results) = hear(&payload, "@begin lab\ntest a ... ok\ntest b ... ");
        assert_eq!(results.tests["lab::b"], Outcome::Lost);
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_is_an_error() {
        let payload = payload(&["a"]);
        let (_, results) = hear(&payload, "@begin lab\ntest a ... ok\n@end 1");
        assert!(results.errors[0].starts_with("lab ended with 1"), "{:?}", results.errors);
    }

    #[test]
    fn the_check_is_read() {
        let payload = payload(&[]);
        let text = "@check {\"programs\": [\n@check {\"name\": \"connect4\"}]}\n@checked 0";
        assert_eq!(hear(&payload, text).1.programs[0]["name"], "connect4");
        let (_, results) = hear(&payload, "@check-error no BTF\n@checked 1");
        assert!(results.errors[0].contains("no BTF"), "{:?}", results.errors);
    }
}
