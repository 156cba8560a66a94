//! Following a folder through every way in which files change.

use std::os::unix::fs::symlink;

use super::*;

/// A watched folder and what a receiver of its events knows.
struct Following {
    _watcher: Watcher,
    events: Receiver<Event>,
    reports: Receiver<Report>,
    state: State,
}

impl Following {
    /// Watches a folder and waits until it is synced.
    fn new(dir: &Path) -> Self {
        let mut following = Self::begin(dir);
        following.until("the first pass", |state| state.synced);
        following
    }

    fn begin(dir: &Path) -> Self {
        let (send_event, events) = channel();
        let (send_report, reports) = channel();
        let out = move |event| drop(send_event.send(event));
        let watcher = watch(dir, out, move |report| drop(send_report.send(report)));
        let watcher = watcher.expect("a watched folder");
        Self { _watcher: watcher, events, reports, state: State::default() }
    }

    /// Takes events until the state is as wanted.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&State) -> bool) {
        let end = Instant::now() + AT_MOST;
        while !wanted(&self.state) {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.state.take(event),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{what} did not come; there is {:?}", self.state.services())
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the thread ended before {what}"),
            }
        }
    }

    #[track_caller]
    fn until_services(&mut self, wanted: &[&str]) {
        self.until(&format!("{wanted:?}"), |state| state.services() == wanted);
    }

    #[track_caller]
    fn report(&self) -> String {
        self.reports.recv_timeout(AT_MOST).expect("a report").to_string()
    }
}

#[test]
fn creation_edit_in_place_and_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let mut following = Following::new(dir.path());
    write(dir.path(), "a.yaml", &service("a", "1"));
    following.until_services(&["a 1"]);
    write(dir.path(), "a.yaml", &service("a", "2"));
    following.until_services(&["a 2"]);
    // Of the same length, at once, and again.
    for version in ["3", "4", "5", "6"] {
        write(dir.path(), "a.yaml", &service("a", version));
        following.until_services(&[&format!("a {version}")]);
    }
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    following.until_services(&[]);
    assert!(following.state.objects.is_empty());
}

#[test]
fn the_last_of_many_quick_edits_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut following = Following::new(dir.path());
    for round in 0..20 {
        for version in 0..50 {
            write(dir.path(), "a.yaml", &service("a", &format!("{round:02}-{version:02}")));
        }
        following.until_services(&[&format!("a {round:02}-49")]);
    }
}

#[test]
fn atomic_rename() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", &service("a", "0"));
    let mut following = Following::new(dir.path());
    for version in ["1", "2", "3"] {
        replace(dir.path(), "a.yaml", &service("a", version));
        following.until_services(&[&format!("a {version}")]);
    }
    // A move to another name is no change of the object.
    let before = following.state.events;
    fs::rename(dir.path().join("a.yaml"), dir.path().join("z.yaml")).unwrap();
    write(dir.path(), "b.yaml", &service("b", "1"));
    following.until_services(&["a 3", "b 1"]);
    assert_eq!(following.state.events, before + 1);
}

#[test]
fn rename_aside_then_create_never_removes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", &service("a", "0"));
    write(dir.path(), "b.yaml", &service("b", "0"));
    // However long the test takes, the scans are so close to each other that the two steps of a rename
    // are one.
    let now = Instant::now();
    let (mut source, mut state) = (Source::new(dir.path()), State::default());
    let mut services = || {
        source.scan(now, &mut |event| state.take(event), &mut |report| panic!("{report}")).unwrap();
        state.services()
    };
    assert_eq!(services(), ["a 0", "b 0"]);
    fs::rename(dir.path().join("a.yaml"), dir.path().join("a.yaml~")).unwrap();
    // A change that a scan between the two steps finds.
    write(dir.path(), "b.yaml", &service("b", "1"));
    assert_eq!(services(), ["a 0", "b 1"]);
    fs::rename(dir.path().join("a.yaml~"), dir.path().join("a.yaml")).unwrap();
    write(dir.path(), "c.yaml", &service("c", "0"));
    assert_eq!(services(), ["a 0", "b 1", "c 0"]);
    // Nothing was taken away and told anew.
    assert_eq!(state.events, 2 + 1 + 1 + 1);
}

#[test]
fn config_map_swap() {
    let dir = tempfile::tempdir().unwrap();
    let version = |folder: &str, text: &str| {
        fs::create_dir(dir.path().join(folder)).unwrap();
        write(&dir.path().join(folder), "a.yaml", text);
    };
    version("..1", &service("a", "1"));
    symlink("..1", dir.path().join("..data")).unwrap();
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let mut following = Following::new(dir.path());
    following.until_services(&["a 1"]);

    version("..2", &service("a", "2"));
    symlink("..2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    fs::remove_dir_all(dir.path().join("..1")).unwrap();
    following.until_services(&["a 2"]);
}

#[test]
fn a_burst_of_files_converges_in_few_scans() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "web.yaml", &service("web", "1"));
    let mut following = Following::new(dir.path());
    for index in 0..1000 {
        let ip = format!("10.0.{}.{}", index / 250, index % 250);
        write(dir.path(), &format!("{index}.yaml"), &pod("web", &format!("p{index}"), &ip));
    }
    following.until("1,000 endpoints", |state| state.addresses().len() == 1000);
    // One slice for each scan that found Pods, beside the Pods and the Service. A scan waits for
    // 20 ms of silence or 200 ms, and a machine that has much else to do makes the silence.
    let applies = following.state.events - 1000 - 2;
    assert!(applies < 500, "the slice was sent {applies} times");

    for index in 0..1000 {
        fs::remove_file(dir.path().join(format!("{index}.yaml"))).unwrap();
    }
    following.until("no endpoints", |state| state.addresses().is_empty());
    following.until_services(&["web 1"]);
}

#[test]
fn a_broken_file_stays_in_force() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", &format!("{}---\n{}", service("a", "1"), service("b", "1")));
    let mut following = Following::new(dir.path());
    replace(dir.path(), "a.yaml", &format!("{}---\nkind: [\n", service("a", "2")));
    let report = following.report();
    assert!(report.contains("a.yaml, document 2, line "), "{report}");
    let kept = "; what was loaded from it before stays in force until it is corrected";
    assert!(report.ends_with(kept), "{report}");
    // Another file goes on, and nothing was taken away meanwhile.
    write(dir.path(), "c.yaml", &service("c", "1"));
    following.until_services(&["a 1", "b 1", "c 1"]);
    write(dir.path(), "a.yaml", &service("a", "3"));
    following.until_services(&["a 3", "c 1"]);
    assert!(following.reports.try_recv().is_err());
}

#[test]
fn synced_waits_for_the_last_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", "kind: [");
    write(dir.path(), "b.yaml", &service("b", "1"));
    write(dir.path(), "c.yaml", "kind: [");
    let mut following = Following::begin(dir.path());
    for name in ["a.yaml", "c.yaml"] {
        let report = following.report();
        assert!(report.contains(name), "{report}");
        let withheld = "; nothing is published before it is corrected or removed";
        assert!(report.ends_with(withheld), "{report}");
    }
    replace(dir.path(), "a.yaml", &service("a", "1"));
    following.until_services(&["a 1", "b 1"]);
    // A file that was in order once is not waited for again.
    replace(dir.path(), "b.yaml", "kind: [");
    assert!(following.report().ends_with("stays in force until it is corrected"));
    assert!(!following.state.synced);
    fs::remove_file(dir.path().join("c.yaml")).unwrap();
    following.until("the end of the wait", |state| state.synced);
    assert_eq!(following.state.services(), ["a 1", "b 1"]);

    replace(dir.path(), "d.yaml", "kind: [");
    let report = following.report();
    assert!(report.ends_with("; it is not served until it is corrected"), "{report}");
}

#[test]
fn what_is_no_file_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a.yaml")).unwrap();
    let mut following = Following::new(dir.path());
    assert!(following.report().ends_with("a.yaml: not read, because it is a folder"));
    write(dir.path(), "b.yaml", &service("b", "1"));
    following.until_services(&["b 1"]);
    assert!(following.reports.try_recv().is_err());
}

#[test]
fn a_duplicate_is_reported_once_and_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", &service("web", "a"));
    let mut following = Following::new(dir.path());
    write(dir.path(), "b.yaml", &service("web", "b"));
    let report = following.report();
    assert!(report.contains("a.yaml, document 1, line 1 and again in "), "{report}");
    assert!(report.contains("b.yaml, document 1, line 1;"), "{report}");
    // The same on another line is no news.
    replace(dir.path(), "b.yaml", &format!("# a comment\n{}", service("web", "b")));
    write(dir.path(), "c.yaml", &service("other", "1"));
    following.until_services(&["other 1", "web a"]);
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    following.until_services(&["other 1", "web b"]);
    assert!(following.reports.try_recv().is_err());
}

#[test]
fn the_folder_goes_and_comes_back() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("manifests");
    fs::create_dir(&dir).unwrap();
    write(&dir, "a.yaml", &service("a", "1"));
    let mut following = Following::new(&dir);

    // In one step, so that no scan can see the folder empty.
    fs::rename(&dir, parent.path().join("old")).unwrap();
    let report = following.report();
    let words = format!("--manifests {}: cannot read the folder: ", dir.display());
    assert!(report.starts_with(&words), "{report}");
    assert_eq!(following.state.services(), ["a 1"]);

    fs::create_dir(&dir).unwrap();
    write(&dir, "b.yaml", &service("b", "1"));
    following.until_services(&["b 1"]);
    // What happens to the old one does not count.
    write(&parent.path().join("old"), "c.yaml", &service("c", "1"));
    write(&dir, "d.yaml", &service("d", "1"));
    following.until_services(&["b 1", "d 1"]);
}

#[test]
fn the_folder_is_replaced_in_one_step() {
    let parent = tempfile::tempdir().unwrap();
    let (first, second) = (parent.path().join("1"), parent.path().join("2"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    write(&first, "a.yaml", &service("a", "1"));
    write(&second, "a.yaml", &service("a", "2"));
    let dir = parent.path().join("manifests");
    symlink("1", &dir).unwrap();
    let mut following = Following::new(&dir);
    following.until_services(&["a 1"]);
    symlink("2", parent.path().join("new")).unwrap();
    fs::rename(parent.path().join("new"), &dir).unwrap();
    following.until_services(&["a 2"]);
    write(&second, "a.yaml", &service("a", "3"));
    following.until_services(&["a 3"]);
}

#[test]
fn dropping_ends_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    let following = Following::new(dir.path());
    drop(following._watcher);
    // The thread owned the sender.
    assert_eq!(following.events.recv_timeout(AT_MOST).err(), Some(RecvTimeoutError::Disconnected));
}
