//! The files of the folder: which are manifests, and which are there.
//!
//! This module must never wait or watch, nor look into what a file describes.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use self::file::{File, renew};
use super::{
    Report,
    objects::Described,
    parse::{Misspelt, Parsed},
};

/// How long a file must be gone before that counts. Some editors rename a file aside before they
/// make the new one, which takes them milliseconds; deletion is meant, and seen, soon after.
const GONE_GRACE: Duration = Duration::from_millis(300);

/// The same where nothing is left, or where the folder itself was gone: it may have been made
/// anew just now, and whoever fills it takes longer.
const ALL_GONE_GRACE: Duration = Duration::from_secs(2);

/// The manifests of one folder, as they were at the last scan.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// Files that went, each still counting until its time.
    gone: BTreeMap<PathBuf, (File, Instant)>,
    /// What has a manifest's name without being a file.
    skipped: BTreeMap<PathBuf, &'static str>,
    complete: bool,
    /// The problem that the last scan ended with.
    problem: Option<Report>,
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            files: BTreeMap::new(),
            gone: BTreeMap::new(),
            skipped: BTreeMap::new(),
            complete: false,
            problem: None,
        }
    }

    /// Reads what changed since the last scan, and gives reports of problems that are new. Returns
    /// whether any description changed. All stays as it was if the folder cannot be listed. `now`
    /// never goes back from scan to scan.
    pub(super) fn scan(
        &mut self,
        now: Instant,
        report: &mut impl FnMut(Report),
    ) -> io::Result<bool> {
        let begun = SystemTime::now();
        let listed = list(&self.dir);
        let was_gone = self.problem.is_some();
        let problem = listed
            .as_ref()
            .err()
            .map(|error| Report::Folder { dir: self.dir.clone(), reason: error.to_string() });
        renew(&mut self.problem, problem, report);
        let Listed { files: present, skipped } = listed?;
        for (path, &instead) in &skipped {
            if self.skipped.get(path) != Some(&instead) {
                report(Report::Skipped { file: path.clone(), instead });
            }
        }
        self.skipped = skipped;
        let all_gone = was_gone || present.is_empty();
        let mut changed = self.set_aside(&present, now, all_gone);
        for (path, metadata) in present {
            let file = self.files.entry(path.clone()).or_default();
            changed |= file.refresh(&path, metadata, begun, !self.complete, report);
        }
        self.complete = self.complete || self.files.values().all(|file| file.loaded);
        Ok(changed)
    }

    /// Sets aside the files that are not present, takes those that are back, and forgets those
    /// whose time is over. Returns whether that changes what counts: by being set aside a file
    /// gives way to others that describe the same.
    fn set_aside<T>(
        &mut self,
        present: &BTreeMap<PathBuf, T>,
        now: Instant,
        all_gone: bool,
    ) -> bool {
        let mut changed = false;
        let back = self.gone.extract_if(.., |path, _| present.contains_key(path));
        for (path, (file, _)) in back {
            self.files.insert(path, file);
            changed = true;
        }
        let until = now + if all_gone { ALL_GONE_GRACE } else { GONE_GRACE };
        for (path, file) in self.files.extract_if(.., |path, _| !present.contains_key(path)) {
            changed |= file.content != Parsed::default();
            if !file.content.objects.is_empty() {
                self.gone.insert(path, (file, until));
            }
        }
        let before = self.gone.len();
        self.gone.retain(|_, (_, until)| *until > now);
        changed || self.gone.len() != before
    }

    /// When the next file that went is due to be forgotten, if one is. None while the folder cannot
    /// be listed, since nothing is forgotten then.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.problem.is_some() {
            return None;
        }
        self.gone.values().map(|(_, until)| *until).min()
    }

    /// Whether at some scan each file that was there had been in order once. It stays so: what is
    /// known since then is no mere part of what the folder is meant to hold.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many manifest files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// What each file describes, in the order of the files' names.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Path, &[Described])> + Clone {
        self.files.iter().map(|(path, file)| (path.as_path(), file.content.objects.as_slice()))
    }

    /// What counts of files that went, unless another file describes it now.
    pub(super) fn gone(&self) -> impl Iterator<Item = &Described> {
        self.gone.values().flat_map(|(file, _)| &file.content.objects)
    }

    /// What is left out of each file for the way that its kind is written.
    pub(super) fn misspelt(&self) -> impl Iterator<Item = Report> {
        self.files.iter().flat_map(|(path, file)| {
            file.content.misspelt.iter().map(|Misspelt { written, api_version, kind }| {
                Report::Kind {
                    place: written.spot.of(path),
                    api_version: written.api_version.clone(),
                    kind: written.kind.clone(),
                    meant_version: api_version,
                    meant_kind: kind.clone(),
                }
            })
        })
    }
}

/// What has the name of a manifest.
struct Listed {
    files: BTreeMap<PathBuf, io::Result<Metadata>>,
    /// What cannot be one, and what it is instead.
    skipped: BTreeMap<PathBuf, &'static str>,
}

/// Lists a folder. A file that vanishes meanwhile is as good as absent.
fn list(dir: &Path) -> io::Result<Listed> {
    let mut listed = Listed { files: BTreeMap::new(), skipped: BTreeMap::new() };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_manifest(&path) {
            continue;
        }
        let instead = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => "a folder",
            Ok(metadata) if !metadata.is_file() => "no regular file",
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(&path).is_err() {
                    continue;
                }
                "a link that leads nowhere"
            }
            metadata => {
                listed.files.insert(path, metadata);
                continue;
            }
        };
        listed.skipped.insert(path, instead);
    }
    Ok(listed)
}

/// Whether the name is one of a manifest, and not hidden or an editor's temporary file, which
/// begin with a dot or hash, or end otherwise (`a.yaml~`, `a.yaml.swp`, `#a.yaml#`).
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let extension = path.extension().unwrap_or_default();
    !name.starts_with(b".")
        && !name.starts_with(b"#")
        && ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}
