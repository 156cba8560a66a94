//! The files of the folder: which are manifests, which changed, and what each describes.
//!
//! This module must never wait or watch, nor look into what a file describes.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Report, objects::Manifest, parse::parse};

/// Two ticks of the slowest clock that stamps files (100 per second). A file that was changed more
/// recently than this before a scan may change again without its stamp telling.
const STAMP_RESOLUTION: Duration = Duration::from_millis(20);

/// How long a file must have been empty before that counts, if it was not. Whoever edits in place
/// empties the file first, and what the shell redirects into a file may take a while to come.
const EMPTY_GRACE: Duration = Duration::from_secs(2);

/// The manifests of one folder, as they were at the last scan.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// The problem that the last scan ended with.
    problem: Option<Report>,
}

#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    /// What counts: from the last time that the file was in order.
    manifests: Vec<Manifest>,
    problem: Option<Report>,
}

/// What changes whenever a file's content does. Follows symbolic links, so that it changes as well
/// when a link along the way is replaced, as a mounted ConfigMap does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), files: BTreeMap::new(), problem: None }
    }

    /// Reads what changed since the last scan, and gives reports of problems that are new. Returns
    /// whether any description changed. All stays as it was if the folder cannot be listed.
    pub(super) fn scan(&mut self, report: &mut impl FnMut(Report)) -> io::Result<bool> {
        let begun = SystemTime::now();
        let listed = list(&self.dir);
        let problem = listed
            .as_ref()
            .err()
            .map(|error| Report::Folder { dir: self.dir.clone(), reason: error.to_string() });
        renew(&mut self.problem, problem, report);
        let present = listed?;
        let mut changed = false;
        self.files.retain(|path, file| {
            let stays = present.contains_key(path);
            changed |= !stays && !file.manifests.is_empty();
            stays
        });
        for (path, metadata) in present {
            let file = self.files.entry(path.clone()).or_default();
            changed |= file.refresh(&path, metadata, begun, report);
        }
        Ok(changed)
    }

    /// What each file describes, in the order of the files' names.
    pub(super) fn manifests(&self) -> impl Iterator<Item = (&Path, &[Manifest])> + Clone {
        self.files.iter().map(|(path, file)| (path.as_path(), file.manifests.as_slice()))
    }
}

/// The manifest files of a folder. A file that vanishes meanwhile, or a link that leads nowhere, is
/// as good as absent.
fn list(dir: &Path) -> io::Result<BTreeMap<PathBuf, io::Result<Metadata>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_manifest(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => drop(files.insert(path, metadata)),
        }
    }
    Ok(files)
}

/// Whether the name is one of a manifest, and not hidden or an editor's temporary file, which
/// begin with a dot or hash, or end otherwise (`a.yaml~`, `a.yaml.swp`, `#a.yaml#`).
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let extension = path.extension().unwrap_or_default();
    !name.starts_with(b".")
        && !name.starts_with(b"#")
        && ["yaml", "yml", "json"].iter().any(|known| extension == *known)
}

impl File {
    /// Reads the file again if it may have changed since, and returns whether what it describes
    /// did. `begun` is a time before `metadata` was taken.
    fn refresh(
        &mut self,
        path: &Path,
        metadata: io::Result<Metadata>,
        begun: SystemTime,
        report: &mut impl FnMut(Report),
    ) -> bool {
        let stamp = metadata.as_ref().ok().map(Stamp::of);
        if stamp.is_some() && self.stamp == stamp {
            return false;
        }
        if !self.manifests.is_empty() && metadata.as_ref().is_ok_and(|m| is_fresh_empty(m, begun)) {
            self.stamp = None;
            return false;
        }
        self.stamp = stamp.filter(|stamp| stamp.is_settled(begun));
        match metadata.and_then(|_| fs::read_to_string(path)).map(|text| parse(&text)) {
            Ok(Ok(manifests)) => {
                self.problem = None;
                let changed = self.manifests != manifests;
                self.manifests = manifests;
                changed
            }
            Ok(Err(broken)) => {
                let problem = Report::Broken {
                    file: path.to_path_buf(),
                    document: broken.document,
                    line: broken.line,
                    reason: broken.reason,
                };
                renew(&mut self.problem, Some(problem), report);
                false
            }
            Err(error) => {
                // Whatever the reason is, it may pass without a trace in the stamp. A file that
                // vanished since it was listed is for the next scan to remove.
                self.stamp = None;
                if error.kind() != io::ErrorKind::NotFound {
                    let file = path.to_path_buf();
                    let problem = Report::Unreadable { file, reason: error.to_string() };
                    renew(&mut self.problem, Some(problem), report);
                }
                false
            }
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether any change from `begun` on is sure to give another stamp.
    fn is_settled(&self, begun: SystemTime) -> bool {
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
fn renew(known: &mut Option<Report>, now: Option<Report>, report: &mut impl FnMut(Report)) {
    if *known != now {
        known.clone_from(&now);
        if let Some(now) = now {
            report(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_manifests() {
        for name in ["a.yaml", "a.yml", "a.json", "a.b.yaml", "a~.yaml"] {
            assert!(is_manifest(&Path::new("dir").join(name)), "{name}");
        }
        for name in [
            ".a.yaml",
            "#a.yaml",
            "#a.yaml#",
            "a.yaml~",
            "a.yaml.swp",
            ".a.yaml.swp",
            "4913",
            "a",
            "yaml",
            ".yaml",
            "a.YAML.bak",
            "..data",
            "a.txt",
        ] {
            assert!(!is_manifest(&Path::new("dir").join(name)), "{name}");
        }
    }

    #[test]
    fn an_emptied_file_counts_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n").unwrap();
        let mut folder = Folder::new(dir.path());
        let mut scan = || {
            let changed = folder.scan(&mut |report| panic!("{report}")).unwrap();
            (changed, folder.manifests().map(|(_, manifests)| manifests.len()).sum::<usize>())
        };
        assert_eq!(scan(), (true, 1));
        let file = fs::File::create(&path).unwrap();
        assert_eq!(scan(), (false, 1));
        file.set_modified(SystemTime::now() - EMPTY_GRACE).unwrap();
        assert_eq!(scan(), (true, 0));
        assert_eq!(scan(), (false, 0));
    }

    #[test]
    fn a_file_that_was_read_young_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n").unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        let mut file = File::default();
        let mut refresh = |begun| {
            file.refresh(&path, fs::metadata(&path), begun, &mut |report| panic!("{report}"));
            file.stamp
        };
        assert_eq!(refresh(written), None);
        assert!(refresh(written + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn a_young_stamp_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let stamp = Stamp::of(&metadata);
        let written = metadata.modified().unwrap();
        assert!(!stamp.is_settled(written));
        assert!(!stamp.is_settled(written + STAMP_RESOLUTION));
        assert!(stamp.is_settled(written + STAMP_RESOLUTION + Duration::from_millis(1)));
        // A clock that was set back.
        assert!(!stamp.is_settled(UNIX_EPOCH));
    }
}
