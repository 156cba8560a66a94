//! What the parser says, in words for whoever wrote the file.
//!
//! This module must never lose a reason that it does not know: it passes that on.

use serde_saphyr::Error;

/// Longer lines are not quoted.
const QUOTED: usize = 80;

/// The line within the document, 0 if unknown, and the reason with that line's text.
pub(super) fn describe(error: &Error, text: &str) -> (usize, String) {
    let Some(location) = error.location() else { return without_location(error, text) };
    let line = usize::try_from(location.line()).unwrap_or(0);
    // The parser's line is one of the document, which would mislead beside the one of the file.
    let suffix = format!(" at line {}, column {}", location.line(), location.column());
    let message = error.to_string();
    let reason = reason(error, message.strip_suffix(&suffix).unwrap_or(&message));
    let quoted = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
    if quoted.is_empty() || quoted.len() > QUOTED {
        return (line, reason);
    }
    (line, format!("{reason} (`{quoted}`)"))
}

/// Times are checked after their text was read, so their mistakes have no place. It is known where
/// only one line can be meant.
fn without_location(error: &Error, text: &str) -> (usize, String) {
    let message = error.to_string();
    let mut times = (1..).zip(text.lines()).filter(|(_, line)| line.contains("Timestamp"));
    match (times.next(), times.next()) {
        (Some((line, _)), None) => {
            (line, format!("a time such as 2024-01-31T12:00:00Z is needed here: {message}"))
        }
        _ => (0, reason(error, &message)),
    }
}

fn reason(error: &Error, message: &str) -> String {
    match error {
        Error::Eof { .. } => "the document ends in the middle".to_owned(),
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "fields are needed here, as `name: value`".to_owned(),
            "sequence start" => "a list is needed here, as `- item` or `[item, item]`".to_owned(),
            "string scalar" => "text is needed here".to_owned(),
            _ => message.to_owned(),
        },
        Error::UnknownAnchor { .. } => "this alias (`*name`) has no anchor (`&name`)".to_owned(),
        Error::Budget { .. } => {
            "the document is too deep, or its aliases repeat too much".to_owned()
        }
        _ => known_message(message).unwrap_or(message).to_owned(),
    }
}

fn known_message(message: &str) -> Option<&'static str> {
    if message.ends_with("expected IntOrString") {
        return Some("a number or a name is needed here");
    }
    let known = [
        ("invalid i32", "a whole number is needed here, of -2147483648 to 2147483647"),
        ("invalid i64", "a whole number is needed here"),
        ("invalid YAML 1.1 bool", "`true` or `false` is needed here"),
        ("cannot deserialize null into string", "text is needed here, and there is none"),
        (
            "multiple YAML documents",
            "something follows the end of the document; separate documents by a line `---`",
        ),
    ];
    known.iter().find(|(begin, _)| message.starts_with(begin)).map(|&(_, words)| words)
}
