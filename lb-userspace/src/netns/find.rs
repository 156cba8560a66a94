//! Where network namespaces show themselves: processes and mounts, and, if asked, threads and
//! descriptors.
//!
//! Processes end while they are looked at, which is never an error here.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{CURRENT, NamespaceError, Search, mounts};

const PROC: &str = "/proc";
/// Mounts that the calling thread sees.
const MOUNTS: &str = "/proc/thread-self/mountinfo";

/// Open namespaces by their inode number.
pub(super) struct Files {
    pub(super) files: HashMap<u64, File>,
    pub(super) denied: usize,
}

pub(super) fn find(search: Search) -> Result<Files, NamespaceError> {
    let mut found = Files { files: HashMap::new(), denied: 0 };
    // Never missing, even if nothing else may be seen.
    found.follow(Path::new(CURRENT))?;
    let mounts = fs::read(MOUNTS).map_err(unlisted(Path::new(MOUNTS)))?;
    for (inode, path) in mounts::namespaces(&mounts) {
        found.open(inode, &path)?;
    }
    let processes = fs::read_dir(PROC).map_err(unlisted(Path::new(PROC)))?;
    for entry in processes {
        let entry = entry.map_err(unlisted(Path::new(PROC)))?;
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            found.process(&entry.path(), search)?;
        }
    }
    Ok(found)
}

impl Files {
    fn process(&mut self, process: &Path, search: Search) -> Result<(), NamespaceError> {
        if !self.follow(&process.join("ns/net"))? {
            // The kernel denies this also for a process that ends just now.
            self.denied += usize::from(process.exists());
            return Ok(());
        }
        if search == Search::Everywhere {
            for thread in list(&process.join("task"))? {
                self.follow(&thread.join("ns/net"))?;
            }
            // Threads have, as a rule, all descriptors in common.
            for descriptor in list(&process.join("fd"))? {
                self.follow(&descriptor)?;
            }
        }
        Ok(())
    }

    /// Opens what a link leads to, if that is a network namespace. `false` if it may not be seen.
    fn follow(&mut self, link: &Path) -> Result<bool, NamespaceError> {
        match fs::read_link(link) {
            Ok(name) => match mounts::inode(&name) {
                Some(inode) => self.open(inode, link),
                None => Ok(true),
            },
            Err(error) if is_lack(&error) => Err(unlisted(link)(error)),
            Err(error) => Ok(error.kind() != io::ErrorKind::PermissionDenied),
        }
    }

    /// Opens a namespace that is not open yet. `false` if that is not allowed.
    fn open(&mut self, inode: u64, path: &Path) -> Result<bool, NamespaceError> {
        if self.files.contains_key(&inode) {
            return Ok(true);
        }
        // Since its name was read, the process may have moved into another namespace, and something
        // else may be at this descriptor or mounted here, be it a FIFO that nobody writes to.
        let mut options = OpenOptions::new();
        let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        match opened.and_then(|file| Ok((file.metadata()?.ino(), file))) {
            Ok((actual, file)) => {
                if actual == inode {
                    self.files.insert(inode, file);
                }
                Ok(true)
            }
            Err(source) if is_lack(&source) => {
                Err(NamespaceError::Unopened { path: path.into(), source })
            }
            Err(error) => Ok(error.kind() != io::ErrorKind::PermissionDenied),
        }
    }
}

/// Whether neither descriptors nor memory are left, so that a namespace may be there and cannot be seen or
/// had. Every other error is about what is there in its place: nothing, a zombie, which has no namespaces, or a socket, which nobody can open.
fn is_lack(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// What a folder of /proc holds; nothing, if its process has ended or may not be seen.
fn list(folder: &Path) -> Result<Vec<PathBuf>, NamespaceError> {
    let path = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.path());
    let listed = fs::read_dir(folder).and_then(|entries| entries.map(path).collect());
    match listed {
        Err(error) if is_lack(&error) => Err(unlisted(folder)(error)),
        listed => Ok(listed.unwrap_or_default()),
    }
}

fn unlisted(path: &Path) -> impl FnOnce(io::Error) -> NamespaceError {
    let path = path.to_owned();
    |source| NamespaceError::Unlisted { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd as _, unix::net::UnixDatagram};

    use super::*;

    #[test]
    fn what_something_else_has_taken_the_place_of_is_gone() {
        // As if the descriptor's name had been read just before it became a socket.
        let socket = UnixDatagram::unbound().unwrap();
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let error = File::open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        let mut found = Files { files: HashMap::new(), denied: 0 };
        assert!(found.open(1, Path::new(&path)).unwrap());
        assert!(found.files.is_empty());
    }

    #[test]
    fn too_few_descriptors_or_too_little_memory_is_no_end_of_a_namespace() {
        for (number, lack) in [
            (libc::EMFILE, true),
            (libc::ENFILE, true),
            (libc::ENOMEM, true),
            (libc::ENOENT, false),
            (libc::ESRCH, false),
            (libc::ENXIO, false),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_lack(&error), lack, "{error}");
        }
    }
}
