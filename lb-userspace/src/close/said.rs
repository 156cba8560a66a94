//! Which failures were logged: each kind once while it goes on, since what fails is tried again and
//! again.
//!
//! Must never grow with the number of failures.

use std::mem::{Discriminant, discriminant};

use super::CloseError;
use crate::netns::NamespaceError;

/// What was logged.
#[derive(Default)]
pub(super) struct Said(Vec<Kind>);

/// Failures of one kind differ only in where they happened.
#[derive(PartialEq)]
struct Kind {
    error: Discriminant<CloseError>,
    namespace: Option<Discriminant<NamespaceError>>,
    protocol: Option<&'static str>,
    /// Whether it will be the same the next time, on this kernel.
    lasts: bool,
}

impl Said {
    /// Whether no such failure was logged yet. From now on one was.
    pub(super) fn is_new(&mut self, error: &CloseError) -> bool {
        let kind = Kind::of(error);
        let is_new = !self.0.contains(&kind);
        if is_new {
            self.0.push(kind);
        }
        is_new
    }

    /// Nothing fails any more, so that what does is news again. What this kernel lacks is not.
    pub(super) fn forget(&mut self) {
        self.0.retain(|kind| kind.lasts);
    }
}

impl Kind {
    fn of(error: &CloseError) -> Self {
        let namespace = match error {
            CloseError::Namespace(error) => Some(discriminant(error)),
            _ => None,
        };
        let protocol = match error {
            CloseError::NoList { protocol } | CloseError::List { protocol, .. } => Some(*protocol),
            _ => None,
        };
        let lasts = matches!(error, CloseError::NoList { .. } | CloseError::NoDestroy);
        Self { error: discriminant(error), namespace, protocol, lasts }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn list(protocol: &'static str, inode: u64) -> CloseError {
        CloseError::List { protocol, inode, source: io::ErrorKind::OutOfMemory.into() }
    }

    #[test]
    fn each_kind_of_failure_is_said_once_while_it_goes_on() {
        let mut said = Said::default();
        let origins = CloseError::Origins(io::ErrorKind::OutOfMemory.into());
        for (error, is_new) in [
            (&origins, true),
            (&origins, false),
            (&list("UDP", 1), true),
            (&list("UDP", 2), false),
            (&list("TCP", 1), true),
            (&NamespaceError::Thread(io::ErrorKind::WouldBlock.into()).into(), true),
            (&NamespaceError::Cookie(io::ErrorKind::OutOfMemory.into()).into(), true),
            (&CloseError::NoDestroy, true),
        ] {
            assert_eq!(said.is_new(error), is_new, "{error}");
        }
        said.forget();
        assert!(said.is_new(&origins) && said.is_new(&list("UDP", 2)));
        assert!(!said.is_new(&CloseError::NoDestroy), "this kernel is not going to have it");
    }
}
