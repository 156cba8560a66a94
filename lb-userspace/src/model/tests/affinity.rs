//! Point 15: session affinity.

use serde_json::json;

use super::*;

fn sticky(timeout: Value) -> Event {
    let config = json!({"clientIP": {"timeoutSeconds": timeout}});
    let fields = json!({
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": config,
        "externalIPs": ["192.0.2.1"],
    });
    web_plus("web", fields)
}

#[test]
fn point_15_affinity_holds_for_all_frontends_of_a_port() {
    let caller = Caller::with([sticky(json!(60))]);
    assert_eq!(caller.frontend(WEB).affinity, 60);
    assert_eq!(caller.frontend("192.0.2.1:80").affinity, 60);
    assert_eq!(caller.frontend(WEB).name, caller.frontend("192.0.2.1:80").name);
}

#[test]
fn point_15_affinity_is_switched_live() {
    let mut caller = Caller::with([web("web")]);
    assert_eq!(caller.frontend(WEB).affinity, 0);
    assert_eq!(caller.give([web_plus("web", json!({"sessionAffinity": "ClientIP"}))]), 1);
    assert_eq!(caller.frontend(WEB).affinity, 10_800);
    caller.give([sticky(json!(null))]);
    assert_eq!(caller.frontend(WEB).affinity, 10_800);
    caller.give([sticky(json!(1))]);
    assert_eq!(caller.frontend(WEB).affinity, 1);
    let config = json!({"clientIP": {"timeoutSeconds": 60}});
    caller.give([web_plus(
        "web",
        json!({"sessionAffinity": "None", "sessionAffinityConfig": config}),
    )]);
    assert_eq!(caller.frontend(WEB).affinity, 0);
    assert!(caller.notices.is_empty());
}

#[test]
fn point_15_timeouts_that_no_api_server_accepts() {
    let mut caller = Caller::with([]);
    for (written, used) in [(0, 10_800), (-1, 10_800), (86_401, 86_400), (i32::MAX, 86_400)] {
        caller.give([sticky(json!(written))]);
        assert_eq!(caller.frontend(WEB).affinity, used, "{written}");
        let words = format!("timeoutSeconds {written} is not 1 to 86400; {used} counts instead");
        assert_eq!(caller.said(&words), 1, "{words}");
    }
    caller.give([sticky(json!(86_400))]);
    assert_eq!(caller.frontend(WEB).affinity, 86_400);
    assert_eq!(caller.notices.len(), 4);
}
