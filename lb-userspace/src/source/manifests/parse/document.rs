//! Splits a YAML stream into its documents.
//!
//! Each is parsed on its own, so that a mistake is reported with the number of its document. This
//! module must never look inside a document.

/// One document of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Number of lines before it.
    pub(super) start: usize,
    /// With its `---` line, if it has one.
    pub(super) text: &'a str,
}

/// The documents that hold anything but comments and directives.
///
/// A line that begins with `---` and a blank or its end separates documents wherever it stands,
/// even inside of a block scalar: YAML 1.2.2 forbids it there (`c-forbidden`, 9.1.2).
pub(super) fn documents(text: &str) -> impl Iterator<Item = Document<'_>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut start = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut length = 0;
        let mut lines = 0;
        for line in rest.split_inclusive('\n') {
            if length > 0 && is_separator(line) {
                break;
            }
            length += line.len();
            lines += 1;
        }
        let (text, after) = rest.split_at(length);
        let document = Document { start, text };
        rest = after;
        start += lines;
        Some(document)
    })
    .filter(|document| document.text.lines().any(holds_content))
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn holds_content(line: &str) -> bool {
    let line = if is_separator(line) { &line[3..] } else { line };
    let line = line.trim();
    !(line.is_empty() || line.starts_with(['#', '%']) || line == "...")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(usize, &str)> {
        documents(text).map(|document| (document.start, document.text)).collect()
    }

    #[test]
    fn one_document() {
        assert_eq!(split("a: 1\nb: 2"), [(0, "a: 1\nb: 2")]);
        assert_eq!(split("---\na: 1\n"), [(0, "---\na: 1\n")]);
        assert_eq!(split("\u{feff}a: 1\n"), [(0, "a: 1\n")]);
    }

    #[test]
    fn several_documents_keep_their_lines() {
        let text = "# c\n---\na: 1\n--- # x\nb: 2\n---\n# nothing\n---\r\nc: 3\n--- {d: 4}\n...\n";
        assert_eq!(
            split(text),
            [
                (1, "---\na: 1\n"),
                (3, "--- # x\nb: 2\n"),
                (7, "---\r\nc: 3\n"),
                (9, "--- {d: 4}\n...\n"),
            ]
        );
    }

    #[test]
    fn nothing_at_all() {
        assert!(split("").is_empty());
        assert!(split("\n---\n---\n# only words\n%YAML 1.2\n").is_empty());
    }

    #[test]
    fn text_that_only_looks_like_a_separator() {
        assert_eq!(split("a: |\n  ---\n  x\n").len(), 1);
        assert_eq!(split("---a: 1\n----\n").len(), 1);
    }
}
