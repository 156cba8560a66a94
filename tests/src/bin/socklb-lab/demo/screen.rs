//! What the demo shows while it runs: a table redrawn in place on a terminal, a line each second
//! elsewhere, and the agent's log above it.
//!
//! Writes to standard error alone.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    objects::WEB,
    report::{self, Summary},
};

/// The running display.
pub(crate) struct Screen {
    bar: ProgressBar,
    /// Stands above the table.
    title: String,
    /// The last second that got its line.
    second: u64,
}

impl Screen {
    /// Says by `hint` how the objects can be changed, and when it ends.
    pub(crate) fn new(hint: &str, time: Option<Duration>) -> Self {
        let end = time.map_or_else(
            || "Ctrl-C ends it".to_string(),
            |time| format!("ends after {}", humantime::format_duration(time)),
        );
        let title = format!(
            "A client connects to {} ({}); p50 and p99 are connect()'s.\n\
             {hint}; {end}.",
            WEB.frontend, WEB.name
        );
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(ProgressStyle::with_template("{msg}").expect("the template is valid"));
        if bar.is_hidden() {
            eprintln!("{title}");
        }
        Self { bar, title, second: 0 }
    }

    /// Prints lines of the agent's log above the table.
    pub(crate) fn log(&self, lines: &[String]) {
        for line in lines {
            self.bar.suspend(|| eprintln!("agent: {line}"));
        }
    }

    /// Shows how things stand after `elapsed`.
    pub(crate) fn draw(&mut self, elapsed: Duration, summary: &Summary) {
        let second = elapsed.as_secs();
        if !self.bar.is_hidden() {
            let table = report::table(summary);
            self.bar.set_message(format!("{}\n{second} s\n{table}", self.title));
            self.bar.tick();
        } else if second > self.second {
            self.second = second;
            eprintln!("{second} s: {}", report::line(summary));
        }
    }

    /// Makes room for what stays.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
