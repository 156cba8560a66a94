//! Puts the program in force on a cgroup, and keeps it and the maps alive by pins.
//!
//! A start of the agent is a new generation: its tables are filled first, and only then does its
//! program take the place of the one that runs, in one step. The old generation goes when its
//! last user does. Nothing here may leave a moment without a program where there was one.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use thiserror::Error;

use super::{
    hooks::{HOOKS, INDISPENSABLE},
    object::{LoadError, MAPS, Object},
    sys,
};

/// Magic number of the bpf filesystem (`BPF_FS_MAGIC`, include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The program could not be attached or pinned.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The cgroup's directory cannot be opened.
    #[error("cannot open the cgroup {}: name a cgroup v2 directory with --cgroup", path.display())]
    Cgroup {
        /// What `--cgroup` says.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refuses the attachment.
    #[error(
        "the kernel refuses to attach {hook} to {}: name a cgroup v2 directory with --cgroup",
        path.display()
    )]
    Attach {
        /// The hook.
        hook: &'static str,
        /// What `--cgroup` says.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory for pins lies on another filesystem.
    #[error(
        "{} is not on a bpf filesystem: mount one (mount -t bpf bpf /sys/fs/bpf), name a directory \
         on one with --pin, or do without with --no-pin",
        path.display()
    )]
    NotBpffs {
        /// What `--pin` says.
        path: PathBuf,
    },
    /// Another agent has the pin directory.
    #[error(
        "another agent uses {}: stop it first, or name another directory with --pin",
        path.display()
    )]
    Locked {
        /// What `--pin` says.
        path: PathBuf,
    },
    /// The pin directory could not be made.
    #[error(
        "cannot make {}: name a directory with --pin whose parent exists on a bpf filesystem, which \
         takes no dots in names",
        path.display()
    )]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something in the pin directory could not be read, replaced or removed.
    #[error("cannot {action} {}", path.display())]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The object is not what it should be.
    #[error(transparent)]
    Load(#[from] LoadError),
}

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
        self.path.join(INDISPENSABLE).exists()
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
            remove_file(&fresh(&path))?;
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

/// Programs in force. Dropping it detaches them, unless they are pinned.
#[derive(Debug)]
pub struct Attachment {
    _links: Vec<OwnedFd>,
    _pins: Option<PinDir>,
}

impl Attachment {
    /// Puts the object's programs in force on a cgroup v2 directory and everything below it, each by
    /// a link (kernel 5.7).
    ///
    /// With pins, what was pinned before is replaced: each link's program in one step, if it is
    /// attached to the same cgroup (kernel 5.8); else the old link goes after the new one is there.
    /// Links of hooks that the object does not have go.
    pub fn new(object: &Object, cgroup: &Path, pins: Option<PinDir>) -> Result<Self, AttachError> {
        let directory = File::open(cgroup)
            .map_err(|source| AttachError::Cgroup { path: cgroup.to_owned(), source })?;
        let programs = object.attachable()?;
        let mut links = Vec::with_capacity(programs.len());
        for (hook, program) in &programs {
            let attach = || {
                sys::attach(*program, directory.as_fd(), hook.attach_type).map_err(|source| {
                    AttachError::Attach { hook: hook.name, path: cgroup.to_owned(), source }
                })
            };
            links.push(match &pins {
                None => attach()?,
                Some(pins) => take_over(&pins.path.join(hook.name), &directory, *program, attach)?,
            });
        }
        if let Some(pins) = &pins {
            for hook in HOOKS
                .iter()
                .filter(|hook| !programs.iter().any(|(attached, _)| attached.name == hook.name))
            {
                detach(&pins.path.join(hook.name))?;
            }
            for name in MAPS {
                replace_pin(&pins.path.join(name), object.map_fd(name)?)?;
            }
        }
        Ok(Self { _links: links, _pins: pins })
    }
}

/// Has the pinned link run this program, or replaces it by a new one.
fn take_over(
    path: &Path,
    cgroup: &File,
    program: BorrowedFd<'_>,
    attach: impl FnOnce() -> Result<OwnedFd, AttachError>,
) -> Result<OwnedFd, AttachError> {
    if let Some(link) = running(path, cgroup)? {
        sys::update_link(link.as_fd(), program)
            .map_err(pin_error("replace the program of", path))?;
        // An agent that was killed while it changed cgroups may have left another link.
        remove_file(&fresh(path))?;
        return Ok(link);
    }
    let link = attach()?;
    replace_pin(path, link.as_fd())?;
    Ok(link)
}

/// Detaches what a link's pin, or one that was to replace it, keeps attached; none is fine.
fn detach(link: &Path) -> Result<(), AttachError> {
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

/// The pinned link, if there is one and it is attached to this cgroup.
fn running(path: &Path, cgroup: &File) -> Result<Option<OwnedFd>, AttachError> {
    let link = match sys::open_pin(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(pin_error("open", path))?,
    };
    let attached =
        sys::link_cgroup(link.as_fd()).map_err(pin_error("ask the kernel about", path))?;
    let wanted = cgroup.metadata().map_err(pin_error("compare", path))?.ino();
    Ok((attached == wanted).then_some(link))
}

/// Pins under another name and renames over `path`, so that there is always one or the other.
fn replace_pin(path: &Path, object: BorrowedFd<'_>) -> Result<(), AttachError> {
    let fresh = fresh(path);
    remove_file(&fresh)?;
    sys::pin(object, &fresh).map_err(pin_error("pin", &fresh))?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))
        .map_err(pin_error("protect", &fresh))?;
    fs::rename(&fresh, path).map_err(pin_error("replace", path))
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

fn pin_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AttachError {
    let path = path.to_owned();
    move |source| AttachError::Pin { action, path, source }
}
