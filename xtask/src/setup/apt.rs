//! One Debian package from a suite that the machine may not follow, unpacked in a folder.
//!
//! apt's own client does it, with the machine's mirror, keyring and proxy, but its lists and files
//! in a scratch folder: the machine's own package lists and sources must never change.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::sources::{Source, read};
use crate::{step, toolchain};

/// The suite that carries the pinned Rust.
const SUITE: &str = "trixie-backports";
const LIMIT: Duration = Duration::from_secs(600);

/// Whether this machine has apt and dpkg.
pub(super) fn is_there() -> bool {
    ["apt-get", "apt-cache", "dpkg-deb"].iter().all(|program| toolchain::find(program).is_some())
}

/// Downloads the package whose upstream version is `version` and unpacks it in `scratch`. Returns
/// the root of what was in it.
pub(super) fn fetch(package: &str, version: &str, scratch: &Path) -> Result<PathBuf> {
    let mirrors = read(Path::new("/etc/apt"))?;
    ensure!(!mirrors.is_empty(), "apt's sources in /etc/apt name no Debian mirror");
    let mut last = None;
    for (number, mirror) in mirrors.iter().enumerate() {
        let folder = scratch.join(number.to_string());
        match fetch_from(mirror, package, version, &folder) {
            Ok(root) => return Ok(root),
            Err(error) => last = Some(error.context(format!("from {}", mirror.uri))),
        }
        step::check_interrupt()?;
    }
    Err(last.expect("there is a mirror"))
}

fn fetch_from(mirror: &Source, package: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    let apt = Apt { folder };
    for name in ["lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::write(apt.sources(), mirror.stanza(SUITE))?;

    let mut update = apt.command("apt-get");
    update.arg("update");
    step::run(&format!("Reading the package lists of Debian {SUITE}"), update, LIMIT)?;

    let mut madison = apt.command("apt-cache");
    let output = madison.args(["madison", package]).stderr(Stdio::inherit()).output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    let Some(full) = pick(&table, version) else {
        bail!("{SUITE} has no {package} {version}, but:\n{}", table.trim_end());
    };

    let mut download = apt.command("apt-get");
    download.current_dir(folder).args(["download", &format!("{package}={full}")]);
    step::run(&format!("Downloading {package} {full}"), download, LIMIT)?;
    let archive = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get left no package in {}", folder.display()))?;

    let root = folder.join("root");
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").args([&archive, &root]);
    step::run(&format!("Unpacking {package}"), unpack, LIMIT)?;
    Ok(root)
}

/// apt's client on a scratch folder.
struct Apt<'a> {
    folder: &'a Path,
}

impl Apt<'_> {
    fn sources(&self) -> PathBuf {
        self.folder.join("debian.sources")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, name) in [
            ("Dir::Etc::sourcelist", "debian.sources"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(name).display()));
        }
        command.args(["-o", "Dir::Etc::sourceparts=-", "-o", "Acquire::Languages=none"]);
        // The user that apt downloads as cannot reach the scratch folder.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }
}

/// The package's version in `apt-cache madison`'s table whose upstream version is `version`.
fn pick<'a>(table: &'a str, version: &str) -> Option<&'a str> {
    table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).find(|full| {
        full.strip_prefix(version).is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '.')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_whole_upstream_version() {
        let table = "\
  rust-src | 1.95.10-1 | http://mirror/debian trixie-backports/main amd64 Packages\n\
  rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://mirror/debian trixie-backports/main amd64 Packages\n";
        assert_eq!(pick(table, "1.95.0"), Some("1.95.0+dfsg1-1~bpo13+1"));
        assert_eq!(pick(table, "1.95.1"), None);
        assert_eq!(pick("", "1.95.0"), None);
    }
}
