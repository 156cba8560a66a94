//! Problems of the objects of all files together, each told once.
//!
//! This module must never drown a reader: of many that come at once it tells a few, and how many
//! more there are.

use rustc_hash::FxHashSet;

use super::Report;

/// The most that are told at once.
const TOLD_AT_ONCE: usize = 10;

/// The problems that the last scan found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Without their lines: these move with every edit above them.
    known: FxHashSet<Report>,
}

impl Findings {
    /// Takes what there is now, and tells what is new.
    pub(super) fn renew(&mut self, now: Vec<Report>, report: &mut impl FnMut(Report)) {
        let mut known = FxHashSet::default();
        let mut count = 0;
        for finding in now {
            let identity = finding.without_lines();
            if !self.known.contains(&identity) && !known.contains(&identity) {
                count += 1;
                if count <= TOLD_AT_ONCE {
                    report(finding);
                }
            }
            known.insert(identity);
        }
        self.known = known;
        if let Some(count) = count.checked_sub(TOLD_AT_ONCE).filter(|&count| count > 0) {
            report(Report::More { count });
        }
    }
}
