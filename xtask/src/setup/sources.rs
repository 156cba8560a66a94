//! Debian's mirrors among apt's configured sources, from both formats (`man sources.list`).
//!
//! It must never make up a mirror: what the machine does not trust is not asked.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// A mirror of the Debian archive, and the keys that sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) uri: String,
    /// A keyring's path or a key itself, as it was written; several lines may belong to it.
    signed_by: Option<String>,
}

impl Source {
    /// A source of one suite of this mirror, in deb822 format.
    pub(super) fn stanza(&self, suite: &str) -> String {
        let mut text =
            format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n", self.uri);
        if let Some(keys) = &self.signed_by {
            text += &format!("Signed-By: {keys}\n");
        }
        text
    }

    /// Whether it is the Debian archive itself: other repositories use Debian's suite names too,
    /// so the path or the keyring has to say it.
    fn is_debian(&self) -> bool {
        let path = self.uri.trim_end_matches('/').trim_end_matches(".list");
        let keys = self.signed_by.as_deref().unwrap_or_default();
        path.ends_with("/debian") || keys.contains("/debian-archive-")
    }
}

/// The distinct Debian mirrors in the configuration folder `etc`.
pub(super) fn read(etc: &Path) -> Result<Vec<Source>> {
    let parts = etc.join("sources.list.d");
    let mut files = vec![etc.join("sources.list")];
    if parts.is_dir() {
        for entry in fs::read_dir(&parts)? {
            files.push(entry?.path());
        }
    }
    files.sort();

    let mut sources: Vec<Source> = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_one_line,
            Some("sources") => parse_deb822,
            _ => continue,
        };
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for source in parse(&text) {
            if source.is_debian() && !sources.iter().any(|known| known.uri == source.uri) {
                sources.push(source);
            }
        }
    }
    Ok(sources)
}

/// `deb [signed-by=FILE arch=A] URI SUITE COMPONENT...`, a source a line.
fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = line.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    (is_archive(suite) && words.any(|component| component == "main"))
        .then(|| Source { uri: uri.to_owned(), signed_by: signed_by.map(str::to_owned) })
}

/// `Field: value` lines in stanzas, which empty lines part. A value goes on in lines that begin
/// with a blank; lines that begin with `#` are comments everywhere.
fn parse_deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).flat_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Vec<Source> {
    let field = |name: &str| -> Option<String> {
        let is_it = |line: &&str| {
            line.split_once(':').is_some_and(|(field, _)| field.eq_ignore_ascii_case(name))
        };
        let start = lines.iter().position(is_it)?;
        let mut value = lines[start].split_once(':')?.1.trim().to_owned();
        for line in lines[start + 1..].iter().take_while(|line| line.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(line);
        }
        Some(value)
    };
    let words = |name: &str| -> Vec<String> {
        field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let is_off = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if is_off
        || !words("Types").contains(&"deb".to_owned())
        || !words("Components").contains(&"main".to_owned())
        || !words("Suites").iter().any(|suite| is_archive(suite))
    {
        return Vec::new();
    }
    let signed_by = field("Signed-By");
    let source = |uri| Source { uri, signed_by: signed_by.clone() };
    words("URIs").into_iter().map(source).collect()
}

/// Security updates lie in an archive of their own, which has no other suites.
fn is_archive(suite: &str) -> bool {
    !suite.contains("-security") && !suite.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, signed_by: Option<&str>) -> Source {
        Source { uri: uri.to_owned(), signed_by: signed_by.map(str::to_owned) }
    }

    #[test]
    fn one_line_format() {
        let text = "\
# deb http://old.example/debian bookworm main
deb http://a.example/debian bookworm main contrib # the mirror
deb-src http://a.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://b.example/debian/ trixie main
deb http://a.example/debian-security bookworm-security main
deb http://a.example/debian bookworm contrib
deb http://flat.example/debian ./
";
        assert_eq!(
            parse_one_line(text),
            [
                source("http://a.example/debian", None),
                source("https://b.example/debian/", Some("/k.gpg"))
            ]
        );
    }

    #[test]
    fn deb822_format() {
        let text = "\
Types: deb deb-src
# a comment
URIs: http://a.example/debian
  http://b.example/debian
Suites: bookworm bookworm-updates
components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://a.example/debian-security
Suites: bookworm-security
Components: main
";
        let key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc";
        let found = parse_deb822(text);
        assert_eq!(
            found,
            [
                source("http://a.example/debian", Some(key)),
                source("http://b.example/debian", Some(key))
            ]
        );
        // What is written reads as what was read.
        assert_eq!(parse_deb822(&found[0].stanza("trixie-backports")), [found[0].clone()]);
    }

    #[test]
    fn only_debian_and_each_mirror_once() {
        let etc = tempfile::tempdir().unwrap();
        let parts = etc.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(etc.path().join("sources.list"), "deb http://a.example/debian trixie main\n")
            .unwrap();
        fs::write(
            parts.join("more.list"),
            "deb http://a.example/debian trixie-updates main\n\
             deb [signed-by=/k/other.gpg] https://other.example/apt bookworm main\n\
             deb mirror+file:/etc/apt/mirrors/debian.list trixie main\n\
             deb [signed-by=/k/debian-archive-keyring.gpg] http://c.example/deb trixie main\n",
        )
        .unwrap();
        fs::write(parts.join("off.list.disabled"), "deb http://d.example/debian trixie main\n")
            .unwrap();
        let uris: Vec<String> =
            read(etc.path()).unwrap().into_iter().map(|source| source.uri).collect();
        assert_eq!(
            uris,
            [
                "http://a.example/debian",
                "mirror+file:/etc/apt/mirrors/debian.list",
                "http://c.example/deb"
            ]
        );
    }

    #[test]
    fn a_machine_without_apt_has_no_mirror() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(read(etc.path()).unwrap(), []);
    }
}
