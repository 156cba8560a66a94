//! What can go wrong with a folder of manifests, in words.
//!
//! A report must never end the source, and an error must never come once it has started.

use std::{fmt, io, path::PathBuf};

/// Why a folder of manifests cannot be a source. What the kernel said is the
/// [source](std::error::Error::source), and not repeated in the words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder cannot be listed.
    #[error(
        "--manifests {}: cannot read the folder; name one that exists and that this user may read",
        dir.display()
    )]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The folder cannot be watched.
    #[error(
        "--manifests {}: cannot watch the folder; if the limit of inotify is reached, raise \
         fs.inotify.max_user_watches and fs.inotify.max_user_instances with sysctl",
        dir.display()
    )]
    Watch {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        source: notify::Error,
    },
    /// The thread cannot be started.
    #[error(
        "--manifests: cannot start the thread that watches the folder; raise the limit of tasks"
    )]
    Thread(#[source] io::Error),
}

/// A problem in the folder that the source survives. Each is given when it begins, and not again
/// while it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Report {
    /// A file that is no valid manifest.
    #[error("{place}: {reason}; {standing}")]
    Broken {
        /// Where.
        place: Place,
        /// What is wrong there.
        reason: String,
        /// What counts meanwhile.
        standing: Standing,
    },
    /// A file that is there but cannot be read.
    #[error("cannot read {}: {reason}; make it readable UTF-8 text; {standing}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        reason: String,
        /// What counts meanwhile.
        standing: Standing,
    },
    /// Something with the name of a manifest that is no file.
    #[error("{}: not read, because it is {instead}", file.display())]
    Skipped {
        /// Its name.
        file: PathBuf,
        /// What it is.
        instead: &'static str,
    },
    /// An object that is described twice.
    #[error(
        "{object} is in {used} and again in {ignored}; the former counts, so remove the latter"
    )]
    Duplicate {
        /// Kind, namespace and name.
        object: String,
        /// Where it counts.
        used: Place,
        /// Where it is too much.
        ignored: Place,
    },
    /// A Service that has no address, and does not say that it is to have none.
    #[error(
        "{place}: {object} has no address, so it is not served: no cluster assigns one here; set \
         spec.clusterIP to an address, or to \"None\" if it is to have none"
    )]
    NoClusterIp {
        /// Where.
        place: Place,
        /// Kind, namespace and name.
        object: String,
    },
    /// An object whose kind is as good as surely misspelt, or of a version that is not read.
    #[error(
        "{place}: ignored, because `apiVersion: {api_version}`, `kind: {kind}` is not read; write \
         `apiVersion: {meant_version}`, `kind: {meant_kind}`"
    )]
    Kind {
        /// Where.
        place: Place,
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
        /// What is read.
        meant_version: &'static str,
        /// What is read.
        meant_kind: String,
    },
    /// Problems that came at once with others, and were left out.
    #[error("and {count} more problems of this sort; correct the ones above first")]
    More {
        /// How many.
        count: usize,
    },
    /// The folder cannot be listed, or is gone.
    #[error(
        "--manifests {}: cannot read the folder: {reason}; what was loaded stays in force until it \
         is back",
        dir.display()
    )]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        reason: String,
    },
}

impl Report {
    /// The same problem, wherever in its files it is.
    pub(super) fn without_lines(&self) -> Self {
        let mut report = self.clone();
        match &mut report {
            Self::Duplicate { used, ignored, .. } => {
                used.forget_line();
                ignored.forget_line();
            }
            Self::Broken { place, .. }
            | Self::NoClusterIp { place, .. }
            | Self::Kind { place, .. } => place.forget_line(),
            Self::Unreadable { .. }
            | Self::Skipped { .. }
            | Self::More { .. }
            | Self::Folder { .. } => {}
        }
        report
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Counts from 1 the documents of the file that hold anything.
    pub document: usize,
    /// Counts from 1, in the file.
    pub line: usize,
}

impl Place {
    fn forget_line(&mut self) {
        (self.document, self.line) = (0, 0);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}, line {}", self.file.display(), self.document, self.line)
    }
}

/// What counts while a file is out of order. [`fmt::Display`] gives a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// What the file described before.
    Kept,
    /// Nothing of this file: it described nothing before.
    Unserved,
    /// Nothing at all: [`Event::Synced`](crate::source::Event::Synced) waits for this file.
    Withheld,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "what was loaded from it before stays in force until it is corrected",
            Self::Unserved => "it is not served until it is corrected",
            Self::Withheld => "nothing is published before it is corrected or removed",
        })
    }
}
