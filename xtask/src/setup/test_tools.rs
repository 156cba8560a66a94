//! bpftool, which some tests call to see the tables as a user does.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::apt;
use crate::{privilege::Privilege, step, toolchain};

const LIMIT: Duration = Duration::from_secs(600);

/// Where bpftool is: it may lie in sbin, which a user's PATH does not always have.
pub(super) fn find() -> Option<PathBuf> {
    let sbin = ["/usr/sbin/bpftool", "/usr/local/sbin/bpftool"].map(PathBuf::from);
    toolchain::find("bpftool").or_else(|| sbin.into_iter().find(|path| path.is_file()))
}

/// Installs bpftool from the distribution's packages, unless it is there.
pub(super) fn ensure() -> Result<()> {
    if find().is_some() {
        return Ok(());
    }
    install().context("bpftool could not be installed. By hand: apt-get install bpftool")
}

fn install() -> Result<()> {
    ensure!(apt::is_there(), "there is no apt here; use this system's own packages");
    let privilege = Privilege::get()?;
    privilege.ask()?;
    let apt_get = |label: &str, args: &[&str]| {
        let mut command = privilege.command("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args);
        step::run(label, command, LIMIT)
    };
    apt_get("Reading the package lists", &["update"])?;
    apt_get("Installing bpftool", &["install", "-y", "--no-install-recommends", "bpftool"])
}
