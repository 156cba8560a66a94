//! Root, for the programs that need it.
//!
//! It must never wrap cargo itself: files that root leaves in the target folder would break the
//! user's next build.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Error, Result, bail, ensure};

use crate::toolchain;

/// sudo, letting through what the agent and the tests read. A list, since not every sudo knows
/// `-E`.
const SUDO: &[&str] = &[
    "sudo",
    "--preserve-env=SOCKLB_LOG,NODE_NAME,RUST_BACKTRACE,NO_COLOR,SOCKLB_SKIPS,SOCKLB_ELSEWHERE,\
     SOCKLB_APISERVER,KUBEBUILDER_ASSETS,CARGO_MANIFEST_DIR,PROPTEST_CASES",
];

/// How a program gets the rights that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// As it is: xtask is root, or no root is needed.
    Direct,
    /// Through sudo, which is there and can ask for a password if it needs one.
    Sudo,
}

impl Privilege {
    /// How this user becomes root.
    ///
    /// # Errors
    /// When neither is there; the message says why.
    pub(crate) fn get() -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::Direct);
        }
        if toolchain::find("sudo").is_none() {
            bail!("this needs root, and there is no sudo: run it as root");
        }
        let silent = Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status();
        if !io::stdin().is_terminal() && !silent.is_ok_and(|status| status.success()) {
            bail!("this needs root, and sudo has no terminal to ask on: run it as root");
        }
        Ok(Self::Sudo)
    }

    /// Lets sudo ask for its password now, before a spinner or a test hides the question.
    pub(crate) fn ask(self) -> Result<()> {
        if self == Self::Sudo {
            let status = Command::new("sudo").arg("-v").status().context("cannot run sudo")?;
            ensure!(status.success(), "sudo refused: run it as root");
        }
        Ok(())
    }

    /// The words to put before a command.
    pub(crate) fn prefix(self) -> &'static [&'static str] {
        match self {
            Self::Direct => &[],
            Self::Sudo => SUDO,
        }
    }

    /// A command that runs `program` with these rights.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self.prefix() {
            [] => Command::new(program),
            [sudo, args @ ..] => {
                let mut command = Command::new(sudo);
                command.args(args).arg(program);
                command
            }
        }
    }

    /// Becomes `program`, with these rights. Returns only if that fails.
    ///
    /// It takes xtask's place: Ctrl-C reaches it directly, the shell waits until it has removed
    /// what it made, and its exit code is xtask's.
    pub(crate) fn exec(self, program: &Path, args: &[String]) -> Error {
        let error = self.command(program).args(args).exec();
        Error::new(error).context(format!("cannot run {}", program.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_comes_before_the_program() {
        let words = |privilege: Privilege| {
            let mut command = privilege.command("/bin/agent");
            command.arg("run");
            let mut words = vec![command.get_program().to_owned()];
            words.extend(command.get_args().map(OsStr::to_owned));
            words
        };
        assert_eq!(words(Privilege::Direct), ["/bin/agent", "run"]);
        let [sudo, keep, rest @ ..] = &words(Privilege::Sudo)[..] else { panic!("too short") };
        assert_eq!(sudo, "sudo");
        assert!(!keep.to_str().unwrap().contains(' '), "the test runner's words are split there");
        assert_eq!(rest, ["/bin/agent", "run"]);
    }
}
