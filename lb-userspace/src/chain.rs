//! An error and what led to it, as one line of a log or report.
//!
//! Nothing may be left out here: who wants less than all of it takes the first line.

use std::error::Error;

/// All messages, the outermost first. What a verifier or parser said may have more lines.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::publish::StoreError;

    #[test]
    fn every_cause_is_told() {
        let source = io::Error::other("no room");
        let error = StoreError { call: "mmap", table: "lb_config", source };
        assert_eq!(chain(&error), "mmap on lb_config failed: no room");
    }
}
