//! The directory of pins, which one process at a time may use, and its files.
//!
//! A pin is replaced by renaming, so that there is always one or the other. While an agent takes over,
//! the new maps' pins lie beside the old ones, until the new programs are in force: they are also the
//! mark of a takeover that did not come to its end. Nothing here attaches anything.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

use super::error::{AttachError, pin_error};
use crate::dataplane::{
    hooks::{HOOKS, INDISPENSABLE},
    object::MAPS,
    sys,
};

/// Magic number of the bpf filesystem (`BPF_FS_MAGIC`, include/uapi/linux/magic.h).
pub(crate) const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// A directory of pins that this process alone uses, until this is dropped.
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
    /// The directory itself, which holds the lock.
    lock: File,
}

impl PinDir {
    /// Makes the directory, with mode 0700, if it is not there, and locks it.
    pub fn open(path: &Path) -> Result<Self, AttachError> {
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(AttachError::Make { path: path.to_owned(), source }),
        };
        match Self::existing(path) {
            Ok(Some(pins)) => Ok(pins),
            Ok(None) => Err(AttachError::Locked { path: path.to_owned() }),
            Err(error) => {
                if made {
                    // Another agent that has locked it meanwhile notices that it is gone.
                    let _ = fs::remove_dir(path);
                }
                Err(error)
            }
        }
    }

    /// Locks the directory if it is there.
    pub fn existing(path: &Path) -> Result<Option<Self>, AttachError> {
        let lock = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(pin_error("open the --pin directory", path))?,
        };
        let read = pin_error("read the --pin directory", path);
        let filesystem = rustix::fs::fstatfs(&lock).map_err(|error| read(error.into()))?;
        if filesystem.f_type as u64 != BPF_FS_MAGIC {
            return Err(AttachError::NotBpffs { path: path.to_owned() });
        }
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(AttachError::Locked { path: path.to_owned() });
            }
            Err(error) => return Err(pin_error("lock", path)(error.into())),
        }
        let pins = Self { path: path.to_owned(), lock };
        // What was removed between opening and locking is locked by nobody that matters.
        if pins.is_there() {
            Ok(Some(pins))
        } else {
            Err(AttachError::Locked { path: pins.path.clone() })
        }
    }

    /// Whether the path still leads to the directory that is locked.
    fn is_there(&self) -> bool {
        let locked = self.lock.metadata().map(|locked| locked.ino());
        let there = fs::metadata(&self.path).map(|there| there.ino());
        matches!((locked, there), (Ok(locked), Ok(there)) if locked == there)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an agent before left programs in force here.
    pub fn in_force(&self) -> bool {
        Self::holds_programs(&self.path)
    }

    /// The same of any directory, whoever uses it.
    pub fn holds_programs(directory: &Path) -> bool {
        directory.join(INDISPENSABLE).exists()
    }

    /// Removes every pin and the directory: what was attached is detached.
    pub fn remove(self) -> Result<(), AttachError> {
        // The links first: nothing may balance with tables that tools cannot see any more. Those
        // that show a Service's address go last, for the sockets that still ask.
        for hook in HOOKS.iter().rev() {
            detach(&self.path.join(hook.name))?;
        }
        for name in MAPS {
            let path = self.path.join(name);
            unstage(&path)?;
            remove_file(&path)?;
        }
        fs::remove_dir(&self.path).map_err(pin_error("remove", &self.path))
    }
}

impl Drop for PinDir {
    /// Leaves no empty directory behind, which tools would take for an agent's. With pins in it,
    /// the directory stays.
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Whether an agent was killed here while it took over: some maps' pins may be old, and some new.
pub(in crate::dataplane) fn is_half_replaced(directory: &Path) -> bool {
    MAPS.iter().any(|name| fresh(&directory.join(name)).exists())
}

/// Pins an object beside `path`, which it is to replace.
pub(super) fn stage(path: &Path, object: BorrowedFd<'_>) -> Result<(), AttachError> {
    let fresh = fresh(path);
    remove_file(&fresh)?;
    sys::pin(object, &fresh).map_err(pin_error("pin", &fresh))?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600)).map_err(pin_error("protect", &fresh))
}

/// Puts what was staged in the place of `path`.
pub(super) fn replace(path: &Path) -> Result<(), AttachError> {
    fs::rename(fresh(path), path).map_err(pin_error("replace", path))
}

/// Gives up what was staged; nothing is fine.
pub(super) fn unstage(path: &Path) -> Result<(), AttachError> {
    remove_file(&fresh(path))
}

/// Detaches what a link's pin, or one that was to replace it, keeps attached; none is fine.
pub(super) fn detach(link: &Path) -> Result<(), AttachError> {
    for path in [&fresh(link), link] {
        match sys::open_pin(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => sys::detach_link(other.map_err(pin_error("open", path))?.as_fd())
                .map_err(pin_error("detach", path))?,
        }
        remove_file(path)?;
    }
    Ok(())
}

/// The name of a pin until it replaces another. The filesystem takes no dots in names.
fn fresh(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("_new");
    name.into()
}

/// Removes a file; one that is not there is fine.
fn remove_file(path: &Path) -> Result<(), AttachError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(pin_error("remove", path)),
    }
}
