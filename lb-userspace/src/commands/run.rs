//! `socklb run`: puts the agent together.
//!
//! Nothing is decided here; a new source or a new table is one more line.

use std::{fs, path::PathBuf, sync::mpsc, thread};

use anyhow::{Context as _, Result, bail};
use sd_notify::NotifyState;
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};
use tracing::{info, warn};

use crate::{
    agent::{Core, Message, Owner},
    cli::Run,
    dataplane::{Attachment, KernelGrace, Object, PinDir},
    model::Model,
    publish::{Publisher, Sizes},
    source::manifests,
};

/// Runs until SIGINT or SIGTERM.
pub fn run(options: Run) -> Result<()> {
    // The lock first: a second agent must fail before it makes anything.
    let pins = if options.no_pin { None } else { Some(PinDir::open(&options.pin)?) };
    let cgroup = options.cgroup.map_or_else(cgroup_root, Ok)?;
    let sizes = Sizes::new(options.max_frontends, options.max_backends);
    let mut object = Object::load(sizes)?;
    info!(
        frontends = sizes.frontends,
        backends = sizes.backends,
        bytes = object.memory()?,
        "tables made"
    );
    if !object.refuses_with_errno {
        warn!("this kernel has no bpf_set_retval (5.18): a refused connect fails with EPERM");
    }

    let (sender, messages) = mpsc::channel();
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot take signals")?;
    let handle = signals.handle();
    let signalled = sender.clone();
    let signals = thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            let _ = signalled.send(Message::Stop("signal"));
        }
    })?;
    let ended = sender.clone();
    let grace = KernelGrace::new(move || {
        // The owner is gone when this fails, and needs no waking.
        let _ = ended.send(Message::GraceEnded);
    })?;
    let publisher = Publisher::new(object.store()?, grace, sizes);
    let core = Core::new(Model::new(options.node_name), publisher);
    let source = manifests::watch(
        &options.manifests,
        move |event| {
            let _ = sender.send(Message::Event(event));
        },
        |report| warn!("{report}"),
    )?;

    let pin = options.pin.clone();
    let pinned = pins.is_some();
    let attached = Owner::new(core, messages).run(|| {
        let attachment = Attachment::new(&mut object, &cgroup, pins)?;
        info!(cgroup = %cgroup.display(), "attached: connections are balanced");
        // Without a supervisor that asked for it, nobody is told.
        sd_notify::notify(false, &[NotifyState::Ready]).context("cannot report readiness")?;
        Ok(attachment)
    });
    handle.close();
    let _ = signals.join();
    drop(source);
    if attached?.is_some() && pinned {
        info!(
            "the node keeps balancing with the last tables; `socklb cleanup --pin {}` ends that",
            pin.display()
        );
    }
    Ok(())
}

/// Where the cgroup v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` where
/// the older hierarchies are mounted too.
fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    match mounts.lines().find_map(cgroup2_mount) {
        Some(path) => Ok(path),
        None => bail!("no cgroup v2 hierarchy is mounted: mount one, or name it with --cgroup"),
    }
}

/// The mount point, if the line of `mountinfo` (proc_pid_mountinfo(5)) is a cgroup v2 mount of the
/// whole hierarchy.
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    (filesystem.starts_with("cgroup2 ") && root == "/").then(|| point.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_cgroup2_mount_and_no_other() {
        let line = "36 25 0:31 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(line), Some("/sys/fs/cgroup/unified".into()));
        let part = "36 25 0:31 /kubepods /mnt rw - cgroup2 cgroup2 rw";
        let old = "30 25 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu";
        assert_eq!((cgroup2_mount(part), cgroup2_mount(old)), (None, None));
    }
}
