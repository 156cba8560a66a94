use std::time::{Duration, UNIX_EPOCH};

use super::{
    file::{EMPTY_GRACE, STAMP_RESOLUTION, Stamp},
    *,
};

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
        (changed, folder.objects().map(|(_, objects)| objects.len()).sum::<usize>())
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
