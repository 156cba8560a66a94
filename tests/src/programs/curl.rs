//! curl, as an HTTP client.
//!
//! An answer that tells of a failure must never be returned as a body.

use anyhow::{Context, Result};

use super::Programs;

/// Fetches `url`, and returns the body of a successful answer.
///
/// # Errors
/// With what curl says, when it fails.
pub fn get(programs: &Programs<'_>, url: &str) -> Result<String> {
    programs
        .program("curl")?
        // Neither the user's settings nor a proxy.
        .args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--fail", "--globoff"])
        .args(["--max-time", "20"])
        .arg(url)
        .run()?
        .success()
        .with_context(|| format!("curl {url}"))
}
