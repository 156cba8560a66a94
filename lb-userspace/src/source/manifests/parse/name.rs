//! Names as the API server accepts them (RFC 1123, in lower case).
//!
//! Must never take a name that the API server refuses, nor refuse one that it takes: a folder would
//! serve what a cluster does not, or the other way round.

/// Why this cannot name a Service or a namespace, if so.
pub(super) fn check_label(field: &str, name: &str) -> Result<(), String> {
    if name.len() <= 63 && is_label(name) {
        return Ok(());
    }
    Err(format!(
        "`{field}` is \"{name}\", which is no valid name: it needs 1 to 63 lower-case letters, \
         digits and `-`, with a letter or digit at both ends"
    ))
}

/// Why this cannot name an object of the other kinds, if so.
pub(super) fn check_subdomain(field: &str, name: &str) -> Result<(), String> {
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!(
        "`{field}` is \"{name}\", which is no valid name: it needs 1 to 253 lower-case letters, \
         digits, `-` and `.`, with a letter or digit at both ends of each part"
    ))
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
        && bytes.first().is_some_and(|&byte| alphanumeric(byte))
        && bytes.last().is_some_and(|&byte| alphanumeric(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
        for name in ["a", "0", "web-1", "a--b", &longest] {
            assert_eq!(check_label("x", name), Ok(()));
            assert_eq!(check_subdomain("x", name), Ok(()));
        }
        for name in ["", "-a", "a-", "Web", "a_b", "a b", "a/b", "ä", "a:b", "a\n"] {
            assert!(check_label("x", name).is_err(), "{name}");
            assert!(check_subdomain("x", name).is_err(), "{name}");
        }
        for name in ["ip-10-0-0-1.example.org", &too_long] {
            assert!(check_label("x", name).is_err(), "{name}");
            assert_eq!(check_subdomain("x", name), Ok(()));
        }
        for name in [".a", "a.", "a..b", "a.-b", &"a.".repeat(127)] {
            assert!(check_subdomain("x", name).is_err(), "{name}");
        }
    }
}
