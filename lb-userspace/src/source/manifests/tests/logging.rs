//! What the log says of a folder, for whoever watches the agent.

use std::sync::{Mutex, PoisonError};

use super::*;

/// Lines of a log that belongs to one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(std::mem::take(&mut bytes)).expect("text")
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_follows_what_is_loaded() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber, a line of code that another test's thread comes to first would ask that
    // thread's, which has none, and never say anything to anyone.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber);
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
