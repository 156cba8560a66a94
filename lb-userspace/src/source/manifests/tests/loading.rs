//! One pass over a folder.

use super::*;

/// Loads a folder: what it holds, and the reports.
fn loaded(dir: &Path) -> (State, Vec<String>) {
    let mut state = State::default();
    let mut reports = Vec::new();
    load(dir, |event| state.take(event), |report| reports.push(report.to_string()))
        .expect("a folder");
    (state, reports)
}

#[test]
fn objects_come_before_synced_and_each_after_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{}---\n{}", service("web", "1"), pod("web", "p", "10.0.0.1"));
    write(dir.path(), "a.yaml", &text);
    write(dir.path(), "n.yml", "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n");
    write(dir.path(), "o.yml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n");
    write(
        dir.path(),
        "s.json",
        r#"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "x"}}}"#,
    );
    let mut order = Vec::new();
    let out = |event| {
        order.push(match event {
            Event::Apply(Object::Node(_)) => "node",
            Event::Apply(Object::Pod(_)) => "pod",
            Event::Apply(Object::Namespace(_)) => "namespace",
            Event::Apply(Object::EndpointSlice(_)) => "slice",
            Event::Apply(Object::Service(_)) => "service",
            Event::Synced => "synced",
            Event::Delete(_) => "delete",
            Event::LocalAddresses(_) => "addresses",
            Event::ServiceNetworks(_) => "networks",
        });
    };
    load(dir.path(), out, |report| panic!("{report}")).unwrap();
    assert_eq!(order, ["namespace", "pod", "node", "slice", "slice", "service", "synced"]);
}

#[test]
fn only_manifests_count() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".hidden.yaml", "a.yaml~", "a.yaml.swp", "#a.yaml#", "a.txt", "a"] {
        write(dir.path(), name, &service("wrong", "1"));
    }
    fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    write(&dir.path().join("folder.yaml"), "a.yaml", &service("wrong", "1"));
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
    write(dir.path(), "b.YAML", &service("right", "1"));
    let (state, reports) = loaded(dir.path());
    assert_eq!(state.services(), ["right 1"]);
    assert!(state.synced);
    let (dangling, folder) = (dir.path().join("dangling.yaml"), dir.path().join("folder.yaml"));
    assert_eq!(
        reports,
        [
            format!("{}: not read, because it is a link that leads nowhere", dangling.display()),
            format!("{}: not read, because it is a folder", folder.display()),
        ]
    );
}

#[test]
fn broken_files_are_named_with_document_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{}---\n{}spec:\n", service("a", "1"), service("b", "1"));
    write(dir.path(), "bad.yaml", &text);
    write(dir.path(), "good.yaml", &service("c", "1"));
    fs::write(dir.path().join("latin.yaml"), b"# \xe9\n").unwrap();
    std::os::unix::fs::symlink("loop.yaml", dir.path().join("loop.yaml")).unwrap();
    let (state, reports) = loaded(dir.path());
    assert_eq!(state.services(), ["c 1"]);
    assert!(!state.synced);
    assert_eq!(reports.len(), 3, "{reports:?}");
    let withheld = "; nothing is published before it is corrected or removed";
    assert!(reports.iter().all(|report| report.ends_with(withheld)), "{reports:?}");
    let bad = format!("{}, document 2, line 14: duplicate", dir.path().join("bad.yaml").display());
    assert!(reports[0].starts_with(&bad), "{}", reports[0]);
    let latin = format!("cannot read {}: ", dir.path().join("latin.yaml").display());
    assert!(reports[1].starts_with(&latin), "{}", reports[1]);
    assert!(reports[2].contains("loop.yaml"), "{}", reports[2]);
}

#[test]
fn the_first_of_two_files_wins() {
    let dir = tempfile::tempdir().unwrap();
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n";
    write(dir.path(), "b.yaml", &format!("{}---\n{node}---\n{node}", service("web", "b")));
    write(dir.path(), "a.yaml", &service("web", "a"));
    let (state, reports) = loaded(dir.path());
    assert_eq!(state.services(), ["web a"]);
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (a, b) = (path("a.yaml"), path("b.yaml"));
    let ends = "; the former counts, so remove the latter";
    assert_eq!(
        reports,
        [
            format!(
                "Service default/web is in {a}, document 1, line 1 and again in {b}, document 1, \
                 line 1{ends}"
            ),
            format!(
                "Node n is in {b}, document 2, line 8 and again in {b}, document 3, line 12{ends}"
            ),
        ]
    );
}

#[test]
fn many_duplicates_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = |count| {
        let node = |index| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n{index}}}\n");
        (0..count).map(node).collect::<Vec<_>>().join("---\n")
    };
    write(dir.path(), "a.yaml", &nodes(1000));
    write(dir.path(), "b.yaml", &nodes(1000));
    let (_, reports) = loaded(dir.path());
    assert_eq!(reports.len(), 11, "{reports:?}");
    assert!(reports[10].starts_with("and 990 more"), "{}", reports[10]);
    write(dir.path(), "b.yaml", &nodes(10));
    assert_eq!(loaded(dir.path()).1.len(), 10);
}

#[test]
fn a_service_without_an_address_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let service = |name: &str, spec: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let services = [
        service("served", "clusterIP: 10.96.0.1"),
        service("served6", "clusterIPs: [\"fd00::1\"]"),
        service("headless", "clusterIP: None"),
        service("external", "type: ExternalName, externalName: example.org"),
        service("misspelt", "clusterIp: 10.96.0.2"),
        service("assigned", "clusterIP: \"\""),
    ];
    write(dir.path(), "a.yaml", &services.join("---\n"));
    let (_, reports) = loaded(dir.path());
    assert_eq!(reports.len(), 2, "{reports:?}");
    for (report, (line, name)) in reports.iter().zip([(21, "misspelt"), (26, "assigned")]) {
        assert!(
            report.contains(&format!(", line {line}: Service default/{name} has no")),
            "{report}"
        );
        assert!(report.contains("set spec.clusterIP"), "{report}");
    }
}

#[test]
fn a_misspelt_kind_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", "# one\napiVersion: v1\nkind: service\n");
    let (state, reports) = loaded(dir.path());
    assert!(state.synced && state.objects.is_empty());
    let words = format!(
        "{}, document 1, line 2: ignored, because `apiVersion: v1`, `kind: service` is not read; \
         write `apiVersion: v1`, `kind: Service`",
        dir.path().join("a.yaml").display()
    );
    assert_eq!(reports, [words]);
}

#[test]
fn a_folder_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = load(&missing, |_| {}, |_| {}).expect_err("no folder");
    let words = format!("--manifests {}: cannot read the folder; name one", missing.display());
    assert!(error.to_string().starts_with(&words), "{error}");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("No such file") && !error.to_string().contains(&cause), "{error}");
    let error = watch(&missing, |_| {}, |_| {}).expect_err("no folder");
    assert!(error.to_string().starts_with(&words), "{error}");
}

#[test]
fn a_folder_makes_frontends() {
    let dir = tempfile::tempdir().unwrap();
    let pods = [pod("web", "p", "10.0.0.2"), pod("web", "q", "10.0.0.1")].join("---\n");
    write(dir.path(), "pods.yaml", &pods);
    write(dir.path(), "web.yaml", &service("web", "1"));
    let mut model = crate::model::Model::new(Default::default());
    load(dir.path(), |event| model.apply(event), |report| panic!("{report}")).unwrap();
    let changes = model.take_changes();
    assert!(changes.notices.is_empty(), "{:?}", changes.notices);
    let [change] = &changes.frontends[..] else { panic!("{:?}", changes.frontends) };
    let frontend = change.state.as_ref().expect("a frontend");
    assert_eq!(&*frontend.name, "default/web/TCP");
    assert_eq!(change.key.to_string(), "10.96.0.1:80/TCP");
    let crate::model::Target::Balance(backends) = &frontend.target else { panic!("{frontend:?}") };
    let backends: Vec<_> = backends.iter().map(|backend| backend.to_string()).collect();
    assert_eq!(backends, ["10.0.0.1:80", "10.0.0.2:80"]);
}
