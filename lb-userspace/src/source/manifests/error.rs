//! What can go wrong with a folder of manifests, in words.

use std::{fmt, io, path::PathBuf};

/// Why a folder of manifests cannot be a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder cannot be listed.
    #[error(
        "cannot read the manifests folder {}: {source}; name a folder that exists and that this \
         user may read",
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
        "cannot watch the manifests folder {}: {source}; if the limit of inotify is reached, raise \
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
        "cannot start the thread that watches the manifests folder: {0}; raise the limit of tasks"
    )]
    Thread(#[source] io::Error),
}

/// A problem in the folder that the source survives. Each is given when it begins, and not again
/// while it goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Report {
    /// A file that is no valid manifest.
    #[error(
        "{}, document {document}, line {line}: {reason}; {standing}", file.display()
    )]
    Broken {
        /// The file.
        file: PathBuf,
        /// Counts from 1 the documents of the file that hold anything.
        document: usize,
        /// Counts from 1, in the file.
        line: usize,
        /// What is wrong there.
        reason: String,
        /// What counts meanwhile.
        standing: Standing,
    },
    /// A file that is there but cannot be read.
    #[error(
        "cannot read {}: {reason}; make it readable UTF-8 text; {standing}", file.display()
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        reason: String,
        /// What counts meanwhile.
        standing: Standing,
    },
    /// An object that is described twice.
    #[error(
        "{object} is in {} and again in {}; the former counts, so remove the latter",
        used.display(), ignored.display()
    )]
    Duplicate {
        /// Kind, namespace and name.
        object: String,
        /// The file that counts.
        used: PathBuf,
        /// The file that is too much there; may be the same.
        ignored: PathBuf,
    },
    /// The folder cannot be listed, or is gone.
    #[error(
        "cannot read the manifests folder {}: {reason}; what was loaded stays in force until the \
         folder is back",
        dir.display()
    )]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        reason: String,
    },
}

/// What counts while a file is out of order. [`fmt::Display`] gives a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
