//! Runs a script: objects go through the manifests source, the model and the publisher, and what
//! the tables hold then is read back.
//!
//! This module must never look at what the model told: only at the tables, and at what the agent
//! would log or close.

use anyhow::{Context as _, Result, bail};
use lb_userspace::{
    dataplane::inspect::FrontendView,
    model::{Changes, FrontendChange, Model},
    source::{Event, manifests::Written},
};

use super::{
    diff::diff,
    dump::dump,
    script::{Action, Script, What},
};

/// Tables with their writer.
pub trait Tables {
    /// What they are, to complete "on".
    const NAME: &str;

    /// Carries out changes, and waits until nothing is under way: between two states, what makes
    /// place for a mark is left alone too.
    ///
    /// # Errors
    /// When one of them does not land.
    fn apply(&mut self, changes: Vec<FrontendChange>) -> Result<()>;

    /// The frontends that a reader finds, in any order.
    ///
    /// # Errors
    /// When the tables cannot be read.
    fn frontends(&self) -> Result<Vec<FrontendView>>;
}

/// Runs a script on empty tables. Returns the dump of each step.
///
/// # Errors
/// When the script is mistaken, or the tables are at fault.
pub fn run<T: Tables>(script: &Script, tables: &mut T) -> Result<Vec<Vec<String>>> {
    let mut model = Model::new(script.options.clone());
    let mut written = Written::default();
    let mut dumps = Vec::new();
    for step in &script.steps {
        for action in &step.actions {
            perform(script, action, &mut written, &mut model)?;
        }
        let Changes { frontends, retired, notices } = model.take_changes();
        let place = || script.place(step.expected.start - 1);
        tables.apply(frontends).with_context(place)?;
        let mut lines = dump(tables.frontends().with_context(place)?);
        lines.extend(retired.iter().map(|gone| format!("retired: {} {}", gone.name, gone.backend)));
        lines.extend(notices.iter().map(|notice| format!("notice: {notice}")));
        dumps.push(lines);
    }
    Ok(dumps)
}

fn perform(
    script: &Script,
    action: &Action,
    written: &mut Written,
    model: &mut Model,
) -> Result<()> {
    match &action.what {
        What::Apply(text) => {
            let applied = written.apply(text, |event| model.apply(event));
            // The text begins on the line after the directive.
            applied.map_err(|wrong| script.mistake(action.line + wrong.line, wrong.reason))?;
        }
        What::Delete(kind, name) => {
            if !written.delete(kind, name, |event| model.apply(event)) {
                let reason = format!("there is no {kind} {name} to delete");
                return Err(script.mistake(action.line, reason).into());
            }
        }
        What::NodeAddresses(addresses) => model.apply(Event::LocalAddresses(addresses.clone())),
        What::Synced => model.apply(Event::Synced),
    }
    Ok(())
}

impl Script {
    /// Compares the dumps of all steps with what is expected. `on` says where they were made.
    ///
    /// # Errors
    /// When they differ: where, and how.
    pub fn compare(&self, dumps: &[Vec<String>], on: &str) -> Result<()> {
        let mut text = String::new();
        for (step, dump) in self.steps.iter().zip(dumps) {
            let expected = self.expected(step);
            if expected != dump {
                let from = step.actions.first().map_or(step.expected.start - 1, |first| first.line);
                let (place, on) = (self.place(from), on);
                text += &format!("{place}: on {on}, this step led to other tables\n");
                text += &diff(expected, dump);
            }
        }
        if !text.is_empty() {
            bail!(
                "{text}- is expected, + is there. If that is right, `UPDATE=1 cargo test -p lb-tests \
                 --test golden` writes it into the script; then read it against docs/semantics.md"
            );
        }
        Ok(())
    }
}
