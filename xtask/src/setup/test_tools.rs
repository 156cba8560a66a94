//! The programs that tests call: to see the tables as a user does, to boot other kernels, and real
//! clients and servers.
//!
//! They come from the distribution's packages. Installing them must never start a service, now or
//! at the next boot.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::apt;
use crate::{privilege::Privilege, step, toolchain};

const LIMIT: Duration = Duration::from_secs(1200);

/// A program that tests call.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    /// Debian's package.
    package: &'static str,
    /// The tests themselves call it, so that a guest needs it too.
    pub(crate) called_by_tests: bool,
}

/// All of them.
pub(crate) const ALL: [Tool; 12] = [
    Tool { program: "bpftool", package: "bpftool", called_by_tests: true },
    Tool { program: "ip", package: "iproute2", called_by_tests: true },
    Tool { program: "curl", package: "curl", called_by_tests: true },
    Tool { program: "nginx", package: "nginx", called_by_tests: true },
    Tool { program: "dig", package: "bind9-dnsutils", called_by_tests: true },
    Tool { program: "dnsmasq", package: "dnsmasq-base", called_by_tests: true },
    Tool { program: "iperf3", package: "iperf3", called_by_tests: true },
    Tool { program: "getent", package: "libc-bin", called_by_tests: true },
    Tool { program: "setpriv", package: "util-linux", called_by_tests: true },
    Tool { program: "unshare", package: "util-linux", called_by_tests: true },
    Tool { program: "busybox", package: "busybox-static", called_by_tests: false },
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", called_by_tests: false },
];

impl Tool {
    /// Where it is: it may lie in sbin, which a user's PATH does not always have.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        find(self.program)
    }
}

/// Where a program is, on PATH or in sbin.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let sbin = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let sbin = sbin.into_iter().map(|folder| folder.join(program));
    toolchain::find(program).or_else(|| sbin.into_iter().find(|path| path.is_file()))
}

/// Installs what is missing from the distribution's packages.
pub(super) fn ensure() -> Result<()> {
    let missing: Vec<&str> =
        ALL.iter().filter(|tool| tool.find().is_none()).map(|tool| tool.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    install(&missing).with_context(|| {
        format!("test tools could not be installed. By hand: apt-get install {names}")
    })
}

fn install(packages: &[&str]) -> Result<()> {
    ensure!(apt::is_there(), "there is no apt here; use this system's own packages");
    let privilege = Privilege::get()?;
    privilege.ask()?;
    let mut update = privilege.command("apt-get");
    update.arg("update");
    step::run("Reading the package lists", update, LIMIT)?;
    let mut install = privilege.command("sh");
    install.args(["-c", INSTALL, "sh"]).args(packages);
    step::run(&format!("Installing {}", packages.join(", ")), install, LIMIT)
}

/// Packages ask policy-rc.d before they start a service. One that is there stays; ours says no only
/// as long as this script runs, even if it is killed and cannot remove it. nginx would also start
/// at the next boot.
const INSTALL: &str = r#"set -e
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\n[ ! -e /proc/%s ] || exit 101\n' $$ >$policy
        chmod 755 $policy
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    case " $* " in *' nginx '*) update-rc.d nginx disable ;; esac
"#;
