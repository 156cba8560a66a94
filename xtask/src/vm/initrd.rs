//! The guest's root file system: an archive that the kernel unpacks into memory.
//!
//! Written without root and without a copy of the tree: files go from where they are into the
//! archive. It must never hold anything but programs and what they need to start.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

/// Folders whose place today is below /usr: the root has links there.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// An archive that is being written.
pub(super) struct Initrd {
    out: BufWriter<File>,
    /// What it holds already.
    places: BTreeSet<PathBuf>,
}

impl Initrd {
    /// Begins the archive `path`, with the root's links.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut initrd = Self { out: BufWriter::new(file), places: BTreeSet::new() };
        for name in MERGED {
            initrd.folder(&Path::new("/usr").join(name))?;
            let target = format!("usr/{name}");
            let entry = Builder::new(name).mode(0o777).set_mode_file_type(ModeFileType::Symlink);
            initrd.entry(entry, target.as_bytes())?;
        }
        Ok(initrd)
    }

    /// Adds an empty folder, and those around it.
    pub(super) fn folder(&mut self, path: &Path) -> Result<()> {
        let path = place(path);
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        // The last one is the root, or the empty path.
        ancestors.pop();
        for folder in ancestors.into_iter().rev() {
            if self.places.insert(folder.to_owned()) {
                let entry = Builder::new(text(folder)?).mode(0o755).nlink(2);
                self.entry(entry.set_mode_file_type(ModeFileType::Directory), &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file, unless there is one at this place.
    pub(super) fn file(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = place(path);
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        if !self.places.insert(path.clone()) {
            return Ok(());
        }
        let entry = Builder::new(text(&path)?).mode(mode);
        self.entry(entry.set_mode_file_type(ModeFileType::Regular), bytes)
    }

    /// Adds this machine's `program` at `path`, and its shared libraries at theirs.
    pub(super) fn program(&mut self, program: &Path, path: &Path) -> Result<()> {
        let read =
            |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        self.file(path, 0o755, &read(program)?)?;
        for library in libraries(program)? {
            self.file(&library, 0o755, &read(&library)?)?;
        }
        Ok(())
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &Path, major: u32, minor: u32) -> Result<()> {
        let path = place(path);
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let entry = Builder::new(text(&path)?).mode(0o600).rdev_major(major).rdev_minor(minor);
        self.entry(entry.set_mode_file_type(ModeFileType::Char), &[])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<()> {
        trailer(&mut self.out)?.flush().context("cannot write the archive")
    }

    fn entry(&mut self, entry: Builder, bytes: &[u8]) -> Result<()> {
        let size = u32::try_from(bytes.len()).context("a file of more than 4 GiB")?;
        let mut writer = entry.write(&mut self.out, size);
        writer
            .write_all(bytes)
            .and_then(|()| writer.finish())
            .context("cannot write the archive")?;
        Ok(())
    }
}

/// Where a file lies in the guest, without the leading slash.
fn place(path: &Path) -> PathBuf {
    let mut parts = path.components().filter(|part| *part != Component::RootDir).peekable();
    let merged = parts.peek().and_then(|part| part.as_os_str().to_str());
    let root = if merged.is_some_and(|name| MERGED.contains(&name)) { "usr" } else { "" };
    Path::new(root).join(parts.collect::<PathBuf>())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The shared libraries of a program, and the loader that it names.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd, which comes with the C library")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let missing = text.lines().find(|line| line.ends_with("not found"));
    ensure!(missing.is_none(), "{}: {}", program.display(), missing.unwrap_or_default().trim());
    Ok(paths(&text))
}

/// The paths in what ldd prints: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
/// Nothing for a program without shared libraries.
fn paths(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line.split_once(" => ").map_or(line, |(_, path)| path).trim();
        let (path, _) = line.rsplit_once(" (")?;
        path.starts_with('/').then(|| path.into())
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_prints() {
        let text = "\
\tlinux-vdso.so.1 (0x00007f101d43f000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f101c81e000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f101d441000)
";
        let expected =
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(paths(text), expected);
        assert!(paths("\tstatically linked\n").is_empty());
    }

    #[test]
    fn files_of_the_root_lie_below_usr() {
        assert_eq!(place(Path::new("/lib64/ld.so")), Path::new("usr/lib64/ld.so"));
        assert_eq!(place(Path::new("/usr/lib64/ld.so")), Path::new("usr/lib64/ld.so"));
        assert_eq!(place(Path::new("/library/x")), Path::new("library/x"));
    }

    #[test]
    fn each_file_is_there_once_with_its_folders() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut initrd = Initrd::create(file.path()).unwrap();
        initrd.file(Path::new("/lib/a/b"), 0o755, b"first").unwrap();
        initrd.file(Path::new("/usr/lib/a/b"), 0o755, b"second").unwrap();
        initrd.device(Path::new("/dev/console"), 5, 1).unwrap();
        initrd.finish().unwrap();

        let mut names = Vec::new();
        let mut archive = File::open(file.path()).unwrap();
        loop {
            let reader = cpio::newc::Reader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            archive = reader.finish().unwrap();
        }
        let folders = ["usr", "usr/bin", "bin", "usr/sbin", "sbin", "usr/lib", "lib"];
        let rest = ["usr/lib64", "lib64", "usr/lib/a", "usr/lib/a/b", "dev", "dev/console"];
        assert_eq!(names, [&folders[..], &rest].concat());
    }
}
