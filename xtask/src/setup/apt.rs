//! Debian packages from suites that the machine may not follow, unpacked in a folder.
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

const LIMIT: Duration = Duration::from_secs(600);

/// Whether this machine has apt and dpkg.
pub(crate) fn is_there() -> bool {
    ["apt-get", "apt-cache", "dpkg-deb"].iter().all(|program| toolchain::find(program).is_some())
}

/// Hands `take` one suite after the other, each from each of the machine's mirrors, until it
/// succeeds. Lists and packages go to `scratch`.
///
/// # Errors
/// What went wrong with each, when it never does.
pub(crate) fn from_first<T>(
    suites: &[&str],
    scratch: &Path,
    take: impl Fn(&Suite<'_>) -> Result<T>,
) -> Result<T> {
    ensure!(is_there(), "this needs Debian's apt-get, apt-cache and dpkg-deb");
    let mirrors = read(Path::new("/etc/apt"))?;
    ensure!(!mirrors.is_empty(), "apt's sources in /etc/apt name no Debian mirror");
    let mut errors = Vec::new();
    for name in suites {
        for mirror in &mirrors {
            let folder = scratch.join(errors.len().to_string());
            match Suite::open(name, mirror, folder).and_then(|suite| take(&suite)) {
                Ok(taken) => return Ok(taken),
                Err(error) => errors.push(format!("{name} from {}: {error:#}", mirror.uri)),
            }
            step::check_interrupt()?;
        }
    }
    bail!("{}", errors.join("\n"))
}

/// One suite of one mirror, with its package lists.
pub(crate) struct Suite<'a> {
    name: &'a str,
    folder: PathBuf,
}

impl<'a> Suite<'a> {
    fn open(name: &'a str, mirror: &Source, folder: PathBuf) -> Result<Self> {
        let suite = Self { name, folder };
        for name in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(suite.folder.join(name))?;
        }
        fs::write(suite.folder.join("debian.sources"), mirror.stanza(name))?;
        let mut update = suite.command("apt-get");
        update.arg("update");
        step::run(&format!("Reading the package lists of Debian {name}"), update, LIMIT)?;
        Ok(suite)
    }

    /// The names of its packages that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.ask(&["pkgnames", prefix])?.lines().map(str::to_owned).collect())
    }

    /// The full version of the package whose upstream version is `version`.
    ///
    /// # Errors
    /// When there is none; with those that there are.
    pub(crate) fn version(&self, package: &str, version: &str) -> Result<String> {
        let table = self.ask(&["madison", package])?;
        let full = pick(&table, version).with_context(|| {
            format!("{} has no {package} {version}, but:\n{}", self.name, table.trim_end())
        })?;
        Ok(full.to_owned())
    }

    /// Downloads packages, each named as `NAME` or `NAME=VERSION`. Returns the folder that holds
    /// them and nothing else.
    pub(crate) fn download(&self, packages: &[String]) -> Result<PathBuf> {
        let folder = self.folder.join("packages");
        let mut download = self.command("apt-get");
        download.current_dir(&folder).arg("download").args(packages);
        step::run(&format!("Downloading {}", packages.join(", ")), download, LIMIT)?;
        Ok(folder)
    }

    fn ask(&self, question: &[&str]) -> Result<String> {
        let mut command = self.command("apt-cache");
        let output = command.args(question).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "apt-cache {}: {}", question.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// apt's client on this suite alone.
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
        // What is installed here is not what the suite has.
        command.args(["-o", "Dir::State::status=/dev/null"]);
        command.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
        // The user that apt downloads as cannot reach the scratch folder.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }
}

/// The packages in a folder.
pub(crate) fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    Ok(packages)
}

/// Unpacks what `packages` install into `root`.
pub(crate) fn unpack(packages: &[PathBuf], root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    for package in packages {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").args([package, root]);
        step::run(&format!("Unpacking {name}"), unpack, LIMIT)?;
    }
    Ok(())
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
