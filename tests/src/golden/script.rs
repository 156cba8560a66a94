//! The text of a script, taken apart.
//!
//! YAML is not read here, but when its step runs. Nothing may be lost: a script is written again as
//! it was, but for what it expects.

use std::{fs, net::IpAddr, ops::Range, path::Path, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use ipnet::IpNet;
use lb_userspace::{
    cli::CloseStale,
    model::{Options, Tracked},
};

/// A script.
#[derive(Debug)]
pub struct Script {
    file: PathBuf,
    lines: Vec<String>,
    pub(super) options: Options,
    pub(super) steps: Vec<Step>,
}

/// What happens, and what it leads to.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) actions: Vec<Action>,
    /// The lines of the dump.
    pub(super) expected: Range<usize>,
}

/// Something that happens.
#[derive(Debug)]
pub(super) struct Action {
    /// Index of the directive's line.
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// The objects of this YAML text are created or changed.
    Apply(String),
    /// The object of this kind and name is gone.
    Delete(String, String),
    /// The node has these addresses.
    NodeAddresses(Vec<IpAddr>),
    /// Everything was listed.
    Synced,
}

/// What is wrong with a script, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {reason}", file.display())]
pub struct Mistake {
    file: PathBuf,
    /// Counts from 1.
    line: usize,
    reason: String,
}

const DIRECTIVES: &str =
    "@options, @apply, @delete, @node-addresses, @synced and @expect are the directives";

/// The agent's flags that the model is told of, with the agent's defaults.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Flags {
    #[arg(long)]
    node_name: Option<String>,
    #[arg(long, value_delimiter = ',')]
    nodeport_addresses: Vec<IpNet>,
    #[arg(long)]
    nodeport_localhost: bool,
    #[arg(long)]
    translate_local_addresses: bool,
    #[arg(long)]
    api_server_address: Vec<IpAddr>,
    #[arg(long, value_enum, default_value_t = CloseStale::Udp)]
    close_stale: CloseStale,
}

/// What was read of a script so far.
#[derive(Default)]
struct Parts {
    options: Option<Options>,
    steps: Vec<Step>,
    /// Of the step that no `@expect` has ended.
    actions: Vec<Action>,
}

impl Parts {
    /// Takes in the directive `line`, the one of this index, and what belongs to it of the lines that
    /// follow. Returns how many of these that are, or what is wrong.
    fn take(&mut self, index: usize, line: &str, rest: &[String]) -> Result<usize, String> {
        let directive = line
            .strip_prefix('@')
            .ok_or_else(|| format!("a directive is needed here: {DIRECTIVES}"))?;
        let mut words = directive.split_whitespace();
        let (name, words) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
        let mut taken = 0;
        let what = match (name, &words[..]) {
            ("options", flags) => {
                if self.options.is_some() || !self.steps.is_empty() || !self.actions.is_empty() {
                    return Err("@options stands once, before anything happens".to_owned());
                }
                self.options = Some(read(flags)?);
                return Ok(0);
            }
            ("expect", []) => {
                let expected = index + 1..index + 1 + dump(rest);
                let length = expected.len();
                self.steps.push(Step { actions: std::mem::take(&mut self.actions), expected });
                return Ok(length);
            }
            ("apply", []) => {
                taken = yaml(rest);
                What::Apply(rest[..taken].join("\n"))
            }
            ("delete", &[kind, name]) => What::Delete(kind.to_owned(), name.to_owned()),
            ("node-addresses", words) => {
                let address =
                    |word: &&str| word.parse().map_err(|_| format!("{word} is no IP address"));
                What::NodeAddresses(words.iter().map(address).collect::<Result<_, _>>()?)
            }
            ("synced", []) => What::Synced,
            ("delete", _) => {
                return Err("@delete wants a kind and a name: Service ns/name".to_owned());
            }
            ("expect" | "apply" | "synced", _) => {
                return Err(format!("nothing may follow @{name} on its line"));
            }
            _ => return Err(format!("@{name} is unknown: {DIRECTIVES}")),
        };
        self.actions.push(Action { line: index, what });
        Ok(taken)
    }
}

impl Script {
    /// Takes a script apart.
    ///
    /// # Errors
    /// If something in it is no directive where one is needed, or a directive is not understood.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Mistake> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mistake =
            |index: usize, reason| Mistake { file: file.to_owned(), line: index + 1, reason };
        let mut parts = Parts::default();
        let mut index = 0;
        while let Some(line) = lines.get(index) {
            if !(line.trim().is_empty() || line.starts_with('#')) {
                let taken = parts.take(index, line, &lines[index + 1..]);
                index += taken.map_err(|reason| mistake(index, reason))?;
            }
            index += 1;
        }
        if let Some(action) = parts.actions.first() {
            return Err(mistake(action.line, "no @expect follows".to_owned()));
        }
        if parts.steps.is_empty() {
            return Err(mistake(0, "the script expects nothing".to_owned()));
        }
        let options = parts.options.map_or_else(|| read(&[]), Ok);
        let options = options.map_err(|reason| mistake(0, reason))?;
        Ok(Self { file: file.to_owned(), lines, options, steps: parts.steps })
    }

    /// A mistake that showed when the script ran. `line` is an index.
    pub(super) fn mistake(&self, line: usize, reason: impl Into<String>) -> Mistake {
        Mistake { file: self.file.clone(), line: line + 1, reason: reason.into() }
    }

    /// Where something stands, for people. `line` is an index.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{}", self.file.display(), line + 1)
    }

    pub(super) fn expected(&self, step: &Step) -> &[String] {
        &self.lines[step.expected.clone()]
    }

    /// The script with these dumps, one for each step, as what it expects.
    ///
    /// # Errors
    /// Never, for dumps that runs lead to.
    pub fn with_dumps(&self, dumps: &[Vec<String>]) -> Result<Self, Mistake> {
        let mut lines = self.lines.clone();
        for (step, dump) in self.steps.iter().zip(dumps).rev() {
            lines.splice(step.expected.clone(), dump.iter().cloned());
        }
        Self::parse(&self.file, &(lines.join("\n") + "\n"))
    }

    /// Writes the script to its file, all at once: others may be reading it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<()> {
        let new = self.file.with_extension("new");
        let write = || {
            fs::write(&new, self.lines.join("\n") + "\n")?;
            fs::rename(&new, &self.file)
        };
        write().with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// How many lines of a dump there are: up to one that is empty, a comment or a directive.
fn dump(lines: &[String]) -> usize {
    let ends = |line: &String| line.trim().is_empty() || line.starts_with(['#', '@']);
    lines.iter().position(ends).unwrap_or(lines.len())
}

/// How many lines of YAML there are: up to a directive, since no YAML begins with its sign.
fn yaml(lines: &[String]) -> usize {
    lines.iter().position(|line| line.starts_with('@')).unwrap_or(lines.len())
}

fn read(flags: &[&str]) -> Result<Options, String> {
    let flags = Flags::try_parse_from(flags).map_err(|error| error.to_string())?;
    Ok(Options {
        node: flags.node_name,
        node_port_addresses: flags.nodeport_addresses,
        node_port_localhost: flags.nodeport_localhost,
        translate_local: flags.translate_local_addresses,
        protected: flags.api_server_address,
        track: match flags.close_stale {
            CloseStale::None => Tracked::None,
            CloseStale::Udp => Tracked::Udp,
            CloseStale::All => Tracked::UdpAndTcp,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(Path::new("a.txt"), text).map_err(|mistake| mistake.to_string())
    }

    const TEXT: &str = "# Words.\n@options --node-name here\n\n@apply\n# yaml\na: 1\n---\nb: 2\n\
        @delete Service a/b\n@node-addresses 10.0.0.1 fd00::1\n@synced\n@expect\none\ntwo\n\n\
        # More words.\n@expect\n\n@expect\nthree\n";

    #[test]
    fn a_script_is_steps_of_actions_and_a_dump() {
        let script = parse(TEXT).unwrap();
        assert_eq!(script.options.node.as_deref(), Some("here"));
        assert_eq!(script.options.track, Tracked::Udp);
        let expected: Vec<_> = script.steps.iter().map(|step| script.expected(step)).collect();
        assert_eq!(expected, [&["one", "two"][..], &[], &["three"]]);
        let actions = &script.steps[0].actions;
        assert!(matches!(&actions[0].what, What::Apply(text) if text == "# yaml\na: 1\n---\nb: 2"));
        assert!(
            matches!(&actions[1].what, What::Delete(kind, name) if kind == "Service" && name == "a/b")
        );
        assert!(matches!(&actions[2].what, What::NodeAddresses(all) if all.len() == 2));
        assert!(matches!(actions[3].what, What::Synced) && actions[3].line == 10);
    }

    #[test]
    fn a_dump_alone_is_written_anew() {
        let script = parse(TEXT).unwrap();
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let same = script.with_dumps(&[lines(&["one", "two"]), lines(&[]), lines(&["three"])]);
        assert_eq!(same.unwrap().lines.join("\n") + "\n", TEXT);
        let new = script.with_dumps(&[lines(&["x"]), lines(&["y", "z"]), lines(&["three"])]);
        let text =
            TEXT.replace("one\ntwo\n", "x\n").replacen("@expect\n\n", "@expect\ny\nz\n\n", 1);
        assert_eq!(new.unwrap().lines.join("\n") + "\n", text);
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        for (text, reason) in [
            ("\n@applly\n", "a.txt:2: @applly is unknown"),
            ("@synced\n@expect\na\n\nb\n", "a.txt:5: a directive is needed here"),
            ("@expect x\n", "a.txt:1: nothing may follow @expect"),
            ("@delete Service\n@expect\n", "a.txt:1: @delete wants a kind and a name"),
            ("@node-addresses 10.0.0\n@expect\n", "a.txt:1: 10.0.0 is no IP address"),
            ("@expect\n@synced\n", "a.txt:2: no @expect follows"),
            ("# Words.\n", "a.txt:1: the script expects nothing"),
            ("@expect\n@options\n", "a.txt:2: @options stands once, before anything"),
            ("@options --nodename x\n@expect\n", "a.txt:1: error: unexpected argument"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.starts_with(reason), "{told}");
        }
    }
}
