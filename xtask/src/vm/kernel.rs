//! The kernels of the matrix: Debian's cloud images, downloaded once and kept.
//!
//! Packages come from the machine's own Debian mirror, signed by Debian's keys. Nothing here may be
//! installed: a package's scripts would change this machine's boot loader.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::setup::apt::{self, Suite};

/// A kernel series, and where Debian has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series {
    /// Such as `6.1`.
    pub(super) version: &'static str,
    /// The suites that may carry it, the likeliest first.
    suites: &'static [&'static str],
}

/// The oldest kernel that socklb supports, Debian's two newest stable ones, and one that is new.
pub(super) const ALL: [Series; 4] = [
    Series { version: "5.10", suites: &["bullseye"] },
    Series { version: "6.1", suites: &["bookworm"] },
    Series { version: "6.12", suites: &["trixie"] },
    Series { version: "7.3", suites: &["trixie-backports", "forky", "sid"] },
];

/// A kernel, unpacked.
pub(super) struct Kernel {
    /// Such as `6.1.0-50-cloud-amd64`.
    pub(super) release: String,
    /// What qemu boots.
    pub(super) image: PathBuf,
    /// The folder that holds its modules, and the list of those that are built in.
    pub(super) modules: PathBuf,
}

impl Series {
    /// Its packages, from `home` or else from Debian, unpacked in `scratch`.
    ///
    /// # Errors
    /// When Debian does not have it, with the remedy.
    pub(super) fn get(self, home: &Path, scratch: &Path) -> Result<Kernel> {
        let kept = home.join(self.version);
        if !kept.is_dir() {
            self.download(&kept, scratch).with_context(|| {
                format!(
                    "Linux {} could not be downloaded. By hand: put Debian's package \
                     linux-image-{}*-cloud-amd64, or the linux-base, linux-binary and linux-modules \
                     of that name, into {}",
                    self.version,
                    self.version,
                    kept.display()
                )
            })?;
        }
        let root = scratch.join("root");
        apt::unpack(&apt::packages(&kept)?, &root)?;
        Kernel::find(&root).with_context(|| {
            format!("{} holds no whole kernel: remove it, and try again", kept.display())
        })
    }

    fn download(self, kept: &Path, scratch: &Path) -> Result<()> {
        let folder = apt::from_first(self.suites, &scratch.join("apt"), |suite: &Suite<'_>| {
            let names = suite.names("linux-")?;
            let packages = self.packages(&names).context("it is not there")?;
            suite.download(&packages)
        })?;
        fs::create_dir_all(kept.parent().context("packages lie in a folder")?)?;
        // In one step, so that what is there is whole.
        fs::rename(&folder, kept)
            .with_context(|| format!("cannot move {} to {}", folder.display(), kept.display()))
    }

    /// The packages of the newest kernel of this series among `names`.
    fn packages(self, names: &[String]) -> Option<Vec<String>> {
        let wanted = numbers(self.version);
        let kernels = names.iter().filter_map(|name| {
            let name = name.strip_suffix("-unsigned").unwrap_or(name);
            name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")
        });
        let newest = kernels
            .filter(|kernel| numbers(kernel).starts_with(&wanted))
            .max_by_key(|kernel| numbers(kernel))?;
        let name = |kind: &str| format!("linux-{kind}-{newest}-cloud-amd64");
        let there = |name: &String| names.contains(name);
        // From 6.19 on the image's package is empty, and depends on these.
        let parts: Vec<String> = ["base", "binary", "modules"].map(name).into();
        if parts.iter().all(there) {
            return Some(parts);
        }
        // The signed package holds the same, but is not everywhere.
        let unsigned = name("image") + "-unsigned";
        Some(vec![if there(&unsigned) { unsigned } else { name("image") }])
    }
}

impl Kernel {
    /// Finds the one kernel below `root`. Older packages have it in /boot and /lib, newer ones all
    /// in /usr/lib.
    fn find(root: &Path) -> Result<Self> {
        let homes = ["lib/modules", "usr/lib/modules"].map(|home| root.join(home));
        let home = homes.into_iter().find(|home| home.is_dir()).context("no modules")?;
        let mut releases = fs::read_dir(home)?;
        let modules = releases.next().context("no modules")??.path();
        ensure!(releases.next().is_none(), "more than one kernel");
        let release =
            modules.file_name().context("a folder has a name")?.to_string_lossy().into_owned();
        let places = [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        match places.into_iter().find(|place| place.is_file()) {
            Some(image) => Ok(Self { release, image, modules }),
            None => bail!("no image"),
        }
    }
}

/// The numbers of a version, in order: `7.3.4+deb13` is 7, 3, 4, 13.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|next: char| !next.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(version: &'static str, names: &[&str]) -> Option<Vec<String>> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Series { version, suites: &[] }.packages(&names)
    }

    #[test]
    fn the_newest_kernel_of_the_series_is_taken() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-image-6.1.0-51-amd64",
            "linux-image-6.1.0-52-cloud-amd64-dbg",
            "linux-image-6.12.107+deb13-cloud-amd64",
        ];
        assert_eq!(packages("6.1", &names).unwrap(), ["linux-image-6.1.0-50-cloud-amd64-unsigned"]);
        assert_eq!(packages("6.12", &names).unwrap(), ["linux-image-6.12.107+deb13-cloud-amd64"]);
        assert_eq!(packages("7.3", &names), None);
    }

    #[test]
    fn a_kernel_in_parts_is_taken_in_parts() {
        let names = [
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-base-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
            "linux-image-7.3.10+deb13-cloud-amd64",
            "linux-base-7.3.10+deb13-cloud-amd64",
            "linux-binary-7.3.10+deb13-cloud-amd64",
            "linux-modules-7.3.10+deb13-cloud-amd64",
        ];
        assert_eq!(packages("7.3", &names).unwrap(), names[5..]);
    }

    #[test]
    fn both_layouts_of_the_packages_are_found() {
        let old = tempfile::tempdir().unwrap();
        fs::create_dir_all(old.path().join("lib/modules/5.10.0-1")).unwrap();
        fs::create_dir(old.path().join("boot")).unwrap();
        assert!(Kernel::find(old.path()).is_err());
        fs::write(old.path().join("boot/vmlinuz-5.10.0-1"), "").unwrap();
        assert_eq!(Kernel::find(old.path()).unwrap().release, "5.10.0-1");

        let new = tempfile::tempdir().unwrap();
        let modules = new.path().join("usr/lib/modules/7.3.4");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("vmlinuz"), "").unwrap();
        assert_eq!(Kernel::find(new.path()).unwrap().image, modules.join("vmlinuz"));
    }
}
