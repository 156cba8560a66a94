//! Puts the programs in force on a cgroup, and keeps them and the maps alive by pins.
//!
//! A start of the agent is a new generation: its tables are filled first, and only then do its
//! programs take the place of those that run, each in one step. The old generation goes when its
//! last user does. Nothing here may leave a moment without a program where there was one.
//!
//! ```text
//!  1. the new maps are pinned beside the old ones     a failure so far changes nothing
//!  2. what has no link in the cgroup gets one
//!  3. each link that was pinned gets its new program; new links are pinned
//!  4. links of hooks without a program go
//!  5. the new maps' pins replace the old ones
//! ```

mod error;
mod pins;

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

pub(crate) use self::pins::BPF_FS_MAGIC;
pub(super) use self::pins::is_half_replaced;
pub use self::{error::AttachError, pins::PinDir};
use self::{
    error::pin_error,
    pins::{detach, replace, stage, unstage},
};
use super::{
    hooks::{HOOKS, Hook},
    object::{MAPS, Object},
    sys,
};

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
        let place = Place { path: cgroup, directory, pins: pins.as_ref() };
        let prepared = place.stage_maps(object).and_then(|()| place.links(&programs));
        let links = match prepared {
            Ok(links) => links,
            Err(error) => {
                place.unstage_maps();
                return Err(error);
            }
        };
        if let Some(pins) = &pins {
            for ((hook, program), link) in programs.iter().zip(&links) {
                link.take_over(&pins.path().join(hook.name), *program)?;
            }
            for hook in HOOKS.iter().filter(|hook| !has(&programs, hook)) {
                detach(&pins.path().join(hook.name))?;
            }
            for name in MAPS {
                replace(&pins.path().join(name))?;
            }
        }
        let links = links.into_iter().map(|link| link.fd).collect();
        Ok(Self { _links: links, _pins: pins })
    }
}

fn has(programs: &[(Hook, BorrowedFd<'_>)], hook: &Hook) -> bool {
    programs.iter().any(|(other, _)| other.name == hook.name)
}

/// Where programs are to be in force.
struct Place<'a> {
    path: &'a Path,
    directory: File,
    pins: Option<&'a PinDir>,
}

impl Place<'_> {
    fn map_pins(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        self.pins.into_iter().flat_map(|pins| MAPS.map(|name| (name, pins.path().join(name))))
    }

    fn stage_maps(&self, object: &Object) -> Result<(), AttachError> {
        self.map_pins().try_for_each(|(name, path)| stage(&path, object.map_fd(name)?))
    }

    fn unstage_maps(&self) {
        for (_, path) in self.map_pins() {
            if let Err(error) = unstage(&path) {
                tracing::warn!(error = crate::chain::chain(&error), "a pin stays behind");
            }
        }
    }

    /// A link for each program, new where there was none.
    fn links(&self, programs: &[(Hook, BorrowedFd<'_>)]) -> Result<Vec<Link>, AttachError> {
        programs.iter().map(|(hook, program)| self.link(hook, *program)).collect()
    }

    fn link(&self, hook: &Hook, program: BorrowedFd<'_>) -> Result<Link, AttachError> {
        if let Some(pins) = self.pins
            && let Some(fd) = running(&pins.path().join(hook.name), &self.directory)?
        {
            return Ok(Link { fd, is_new: false });
        }
        let attached = sys::attach(program, self.directory.as_fd(), hook.attach_type);
        let fd = attached.map_err(|source| AttachError::Attach {
            hook: hook.name,
            path: self.path.to_owned(),
            source,
        })?;
        Ok(Link { fd, is_new: true })
    }
}

/// A program's link to the cgroup.
struct Link {
    fd: OwnedFd,
    /// It runs the new program already, and is not pinned.
    is_new: bool,
}

impl Link {
    /// From here on the link that is pinned at `path` is this one, and runs this program.
    fn take_over(&self, path: &Path, program: BorrowedFd<'_>) -> Result<(), AttachError> {
        if self.is_new {
            stage(path, self.fd.as_fd())?;
            return replace(path);
        }
        sys::update_link(self.fd.as_fd(), program)
            .map_err(pin_error("replace the program of", path))?;
        // An agent that was killed while it changed cgroups may have left another link.
        unstage(path)
    }
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
