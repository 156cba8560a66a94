//! What the log says of a folder, for whoever watches the agent.

use super::*;
use crate::logged::Log;

#[test]
fn the_log_follows_what_is_loaded() {
    let log = Log::new();
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::new(dir.path());
    let mut scan = || {
        source.scan(Instant::now(), &mut drop, &mut drop).expect("a folder");
        log.take()
    };

    let said = scan();
    assert!(said.contains("manifests read files=0 services=0 slices=0 synced=true"), "{said}");
    assert!(said.contains("WARN") && said.contains("no manifest describes a Service"), "{said}");
    assert_eq!(scan(), "");

    let text = format!("{}---\n{}", service("web", "1"), pod("web", "p", "10.0.0.1"));
    let other = "---\napiVersion: v1\nkind: Sevice\n---\napiVersion: v1\nkind: Secret\n";
    replace(dir.path(), "a.yaml", &format!("{text}{other}"));
    let said = scan();
    assert!(said.contains("files=1 services=1 slices=1"), "{said}");
    assert!(said.contains("a.yaml, document 3, line 13: ignored, because"), "{said}");
    assert!(said.contains("`kind: Sevice`") && said.contains("in this file: 2"), "{said}");

    replace(dir.path(), "a.yaml", "kind: [");
    assert_eq!(scan(), "");
    replace(dir.path(), "a.yaml", &format!("{text}{other}"));
    let said = scan();
    assert!(said.contains("a.yaml: corrected") && !said.contains("ignored"), "{said}");
}
