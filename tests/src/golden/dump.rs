//! Tables as text: a line for each frontend.
//!
//! What depends on the history of a table must never show: slots, ids, the order of backends.

use lb_userspace::dataplane::inspect::FrontendView;

/// The line of tables without any frontend.
const EMPTY: &str = "(no frontend)";

/// A line for each frontend, IPv4 first, by address and port, in columns.
pub(super) fn dump(mut frontends: Vec<FrontendView>) -> Vec<String> {
    if frontends.is_empty() {
        return vec![EMPTY.to_owned()];
    }
    frontends.sort_by_key(|view| (view.address, view.port, view.protocol.clone()));
    let rows: Vec<_> =
        frontends.iter().map(|view| (view.place(), view.name.as_str(), outcome(view))).collect();
    let places = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let names = rows.iter().map(|row| row.1.len()).max().unwrap_or(0);
    let line = |(place, name, outcome)| format!("{place:places$}  {name:names$}  {outcome}");
    rows.into_iter().map(line).collect()
}

fn outcome(view: &FrontendView) -> String {
    let mut backends: Vec<_> = view.backends.iter().map(|backend| backend.address).collect();
    backends.sort_unstable();
    let backends: Vec<_> = backends.iter().map(ToString::to_string).collect();
    let mut text = match (view.passed, &backends[..]) {
        (true, _) => "left alone".to_owned(),
        (false, []) => "refused".to_owned(),
        (false, backends) => format!("-> {}", backends.join(" ")),
    };
    if view.affinity > 0 {
        text += &format!(", affinity {} s", view.affinity);
    }
    if view.host_only {
        text += ", host only";
    }
    text
}
