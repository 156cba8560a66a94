//! Splits a YAML stream into its documents.
//!
//! Each is parsed on its own, so that a mistake is reported with the number of its document. This
//! module must never look inside a document.

/// One document of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Number of lines before it.
    pub(super) start: usize,
    /// With its `---` line, if it has one, and without the `...` line that ends it.
    pub(super) text: &'a str,
}

/// The documents that hold anything but comments and directives.
///
/// A line that begins with `---` and a blank or its end begins a document wherever it stands, and
/// one with `...` ends one, even inside of a block scalar: YAML 1.2.2 forbids them there
/// (`c-forbidden`, 9.1.2).
pub(super) fn documents(text: &str) -> impl Iterator<Item = Document<'_>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut start = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut length, mut marker) = (0, 0);
        let mut lines = 0;
        for line in rest.split_inclusive('\n') {
            if length > 0 && is_marker(line, "---") {
                break;
            }
            lines += 1;
            if is_marker(line, "...") {
                marker = line.len();
                break;
            }
            length += line.len();
        }
        let document = Document { start, text: &rest[..length] };
        rest = &rest[length + marker..];
        start += lines;
        Some(document)
    })
    .filter(|document| document.text.lines().any(holds_content))
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn holds_content(line: &str) -> bool {
    let line = if is_marker(line, "---") { &line[3..] } else { line };
    let line = line.trim();
    !(line.is_empty() || line.starts_with(['#', '%']))
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
            [(1, "---\na: 1\n"), (3, "--- # x\nb: 2\n"), (7, "---\r\nc: 3\n"), (9, "--- {d: 4}\n"),]
        );
    }

    #[test]
    fn a_document_may_end_by_itself() {
        let text =
            "a: 1\n...\n# between\n---\nb: 2\n... # end\nc: 3\n...\n%YAML 1.2\n---\nd: 4\n...";
        assert_eq!(
            split(text),
            [(0, "a: 1\n"), (3, "---\nb: 2\n"), (6, "c: 3\n"), (9, "---\nd: 4\n")]
        );
        assert!(split("...\n...\n").is_empty());
        assert_eq!(split("a: ...\nb: |\n  ...\n....\n").len(), 1);
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
