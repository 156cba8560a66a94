//! One file of the folder: when to read it again, and what counts of it.
//!
//! This module must never look at other files.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::source::manifests::{
    Report, Standing,
    parse::{Parsed, parse},
};

/// Two ticks of the slowest clock that stamps files (100 per second). A file that was changed more
/// recently than this before a scan may change again without its stamp telling.
pub(super) const STAMP_RESOLUTION: Duration = Duration::from_millis(20);

/// How long a file must have been empty before that counts, if it was not. Whoever edits in place
/// empties the file first, and what the shell redirects into a file may take a while to come.
pub(super) const EMPTY_GRACE: Duration = Duration::from_secs(2);

/// What is known of a file since it was first seen.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) stamp: Option<Stamp>,
    /// What counts: from the last time that the file was in order.
    pub(super) content: Parsed,
    /// Whether the file was in order once.
    pub(super) loaded: bool,
    problem: Option<Report>,
}

/// What changes whenever a file's content does. Follows symbolic links, so that it changes as well
/// when a link along the way is replaced, as a mounted ConfigMap does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl File {
    /// Reads the file again if it may have changed since, and returns whether what it describes
    /// did. `begun` is a time before `metadata` was taken. `withheld` says that all waits for this
    /// file, if it is out of order.
    pub(super) fn refresh(
        &mut self,
        path: &Path,
        metadata: io::Result<Metadata>,
        begun: SystemTime,
        withheld: bool,
        report: &mut impl FnMut(Report),
    ) -> bool {
        let stamp = metadata.as_ref().ok().map(Stamp::of);
        if stamp.is_some() && self.stamp == stamp {
            return false;
        }
        if !self.content.objects.is_empty()
            && metadata.as_ref().is_ok_and(|m| is_fresh_empty(m, begun))
        {
            self.stamp = None;
            return false;
        }
        self.stamp = stamp.filter(|stamp| stamp.is_settled(begun));
        let standing = self.standing(withheld);
        match metadata.and_then(|_| fs::read_to_string(path)).map(|text| parse(&text)) {
            Ok(Ok(content)) => {
                if self.problem.take().is_some() {
                    tracing::info!("{}: corrected", path.display());
                }
                self.loaded = true;
                let changed = self.content != content;
                if let Some((first, count)) = &content.ignored
                    && self.content.ignored != content.ignored
                {
                    tracing::info!(
                        "{}: ignored, because `apiVersion: {}`, `kind: {}` does not count here; \
                         objects of such kinds in this file: {count}",
                        first.spot.of(path),
                        first.api_version,
                        first.kind,
                    );
                }
                self.content = content;
                changed
            }
            Ok(Err(broken)) => {
                let problem =
                    Report::Broken { place: broken.spot.of(path), reason: broken.reason, standing };
                renew(&mut self.problem, Some(problem), report);
                false
            }
            Err(error) => {
                // Whatever the reason is, it may pass without a trace in the stamp. A file that
                // vanished since it was listed is for the next scan to remove.
                self.stamp = None;
                if error.kind() != io::ErrorKind::NotFound {
                    let (file, reason) = (path.to_path_buf(), error.to_string());
                    let problem = Report::Unreadable { file, reason, standing };
                    renew(&mut self.problem, Some(problem), report);
                }
                false
            }
        }
    }

    fn standing(&self, withheld: bool) -> Standing {
        match (self.content.objects.is_empty(), withheld && !self.loaded) {
            (false, _) => Standing::Kept,
            (true, true) => Standing::Withheld,
            (true, false) => Standing::Unserved,
        }
    }
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether any change from `begun` on is sure to give another stamp.
    pub(super) fn is_settled(&self, begun: SystemTime) -> bool {
        let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
        let newest = self.changed.max(self.modified);
        let newest = Duration::from_secs(u64::try_from(newest.0).unwrap_or(0))
            + Duration::from_nanos(u64::try_from(newest.1).unwrap_or(0));
        newest + STAMP_RESOLUTION < begun
    }
}

/// Whether a file was emptied just now.
fn is_fresh_empty(metadata: &Metadata, begun: SystemTime) -> bool {
    let age = metadata.modified().map(|modified| begun.duration_since(modified));
    // An error is a time that is yet to come.
    metadata.len() == 0 && age.is_ok_and(|age| age.unwrap_or_default() < EMPTY_GRACE)
}

/// Replaces a problem, and reports it if it is another one than before.
pub(super) fn renew(
    known: &mut Option<Report>,
    now: Option<Report>,
    report: &mut impl FnMut(Report),
) {
    if *known != now {
        known.clone_from(&now);
        if let Some(now) = now {
            report(now);
        }
    }
}
