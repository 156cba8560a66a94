use std::time::UNIX_EPOCH;

use super::{
    file::{EMPTY_GRACE, STAMP_RESOLUTION, Stamp},
    *,
};

#[test]
fn names_of_manifests() {
    for name in ["a.yaml", "a.yml", "a.json", "a.b.yaml", "a~.yaml", "a.YAML", "a.Yml"] {
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
        let changed = folder.scan(Instant::now(), &mut |report| panic!("{report}")).unwrap();
        (changed, folder.objects().map(|(_, objects)| objects.len()).sum::<usize>())
    };
    assert_eq!(scan(), (true, 1));
    let file = fs::File::create(&path).unwrap();
    // Just now, however long that is ago for the test.
    file.set_modified(SystemTime::now() + 100 * EMPTY_GRACE).unwrap();
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
        file.refresh(&path, fs::metadata(&path), begun, true, &mut |report| panic!("{report}"));
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

/// A folder, and a scan of it that gives what counts: of files that are there, and of those that
/// went.
struct Scanned {
    dir: tempfile::TempDir,
    folder: Folder,
}

impl Scanned {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let scanned = Self { dir, folder };
        files.iter().for_each(|name| scanned.write(name));
        scanned
    }

    fn write(&self, name: &str) {
        let text = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n";
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    fn scan(&mut self, now: Instant) -> (usize, usize) {
        self.folder.scan(now, &mut |report| panic!("{report}")).unwrap();
        let there = self.folder.objects().map(|(_, objects)| objects.len()).sum();
        (there, self.folder.gone().count())
    }
}

#[test]
fn a_file_that_went_counts_for_a_while() {
    let mut scanned = Scanned::new(&["a.yaml", "b.yaml"]);
    let begin = Instant::now();
    assert_eq!(scanned.scan(begin), (2, 0));
    scanned.remove("a.yaml");
    assert_eq!(scanned.scan(begin), (1, 1));
    assert_eq!(scanned.folder.due(), Some(begin + GONE_GRACE));
    let soon = begin + GONE_GRACE / 2;
    assert_eq!(scanned.scan(soon), (1, 1));
    scanned.write("a.yaml");
    assert_eq!(scanned.scan(soon), (2, 0));
    assert_eq!(scanned.folder.due(), None);

    scanned.remove("a.yaml");
    assert_eq!(scanned.scan(soon), (1, 1));
    assert_eq!(scanned.scan(soon + GONE_GRACE), (1, 0));
}

#[test]
fn a_folder_that_is_empty_or_new_has_longer() {
    let mut scanned = Scanned::new(&["a.yaml"]);
    let begin = Instant::now();
    assert_eq!(scanned.scan(begin), (1, 0));
    scanned.remove("a.yaml");
    assert_eq!(scanned.scan(begin), (0, 1));
    // Another file is no reason to hurry.
    scanned.write("b.yaml");
    assert_eq!(scanned.scan(begin + GONE_GRACE), (1, 1));
    assert_eq!(scanned.scan(begin + ALL_GONE_GRACE), (1, 0));

    scanned.write("a.yaml");
    assert_eq!(scanned.scan(begin + ALL_GONE_GRACE), (2, 0));
    scanned.remove("a.yaml");
    assert_eq!(scanned.scan(begin + ALL_GONE_GRACE), (1, 1));
    let begin = begin + ALL_GONE_GRACE + GONE_GRACE;

    let aside = scanned.dir.path().with_extension("aside");
    fs::rename(scanned.dir.path(), &aside).unwrap();
    assert!(scanned.folder.scan(begin, &mut drop).is_err());
    assert_eq!(scanned.folder.due(), None);
    fs::create_dir(scanned.dir.path()).unwrap();
    fs::remove_dir_all(aside).unwrap();
    scanned.write("c.yaml");
    assert_eq!(scanned.scan(begin + GONE_GRACE), (1, 1));
    assert_eq!(scanned.folder.due(), Some(begin + GONE_GRACE + ALL_GONE_GRACE));
}
