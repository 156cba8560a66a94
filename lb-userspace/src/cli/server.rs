//! The API server on the command line.
//!
//! Must never look a name up, nor connect: only the text is judged.

use http::Uri;

/// A scheme, a host, and a port that may be missing.
pub(super) fn server(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !known || uri.host().is_none_or(str::is_empty) || !matches!(uri.path(), "" | "/") {
        return Err("expected https://HOST:PORT or http://HOST:PORT, without a path, as in \
                    https://192.0.2.1:6443"
            .into());
    }
    Ok(uri)
}
