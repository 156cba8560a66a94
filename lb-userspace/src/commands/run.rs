//! `socklb run`: puts the agent together.
//!
//! Nothing is decided here but the order of starting; a new source or a new table is one more line.

use std::{
    fs,
    path::PathBuf,
    sync::mpsc::{self, Sender},
    thread,
};

use anyhow::{Context as _, Result, bail};
use sd_notify::NotifyState;
use signal_hook::{
    consts::TERM_SIGNALS,
    flag,
    iterator::{Handle, Signals},
};
use tracing::{info, warn};

use crate::{
    agent::{Core, Message, Owner},
    cli::Run,
    dataplane::{Attachment, KernelGrace, Object, PinDir},
    model::{Model, Options},
    publish::{Publisher, Sizes},
    source::manifests,
};

/// Runs until SIGINT, SIGQUIT or SIGTERM; a second one ends it at once.
pub fn run(options: Run) -> Result<()> {
    let (sender, messages) = mpsc::channel();
    let signals = listen_for_signals(sender.clone())?;
    // The lock early: a second agent must fail before it makes anything.
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

    let ended = sender.clone();
    let grace = KernelGrace::new(move || {
        // The owner is gone when this fails, and needs no waking.
        let _ = ended.send(Message::GraceEnded);
    })?;
    let publisher = Publisher::new(object.store()?, grace, sizes);
    let core =
        Core::new(Model::new(Options { node: options.node_name, ..Options::default() }), publisher);
    let feed = Feed(sender);
    let source = manifests::watch(
        &options.manifests,
        move |event| feed.send(Message::Event(event)),
        |report| warn!("{report}"),
    )?;

    let pinned = pins.is_some();
    let attached = Owner::new(core, messages).run(|failures| {
        if failures > 0 && pins.as_ref().is_some_and(PinDir::in_force) {
            bail!(
                "{failures} frontends could not be published, see above: the tables of the agent \
                 before stay in force"
            );
        }
        let attachment = Attachment::new(&mut object, &cgroup, pins)?;
        info!(cgroup = %cgroup.display(), "attached: connections are balanced");
        if let Err(error) = sd_notify::notify(false, &[NotifyState::Ready]) {
            warn!(%error, "cannot report readiness to NOTIFY_SOCKET");
        }
        Ok(attachment)
    });
    signals.close();
    drop(source);
    if attached?.is_some() && pinned {
        info!(
            "the node keeps balancing with the last tables; `socklb cleanup --pin {}` ends that",
            options.pin.display()
        );
    }
    Ok(())
}

/// The source's way to the owner. The owner is told when the source drops it, whatever the reason:
/// an agent without a source would serve an ever older state.
struct Feed(Sender<Message>);

impl Feed {
    fn send(&self, message: Message) {
        // The owner is gone when this fails, and the source will be stopped.
        let _ = self.0.send(message);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.send(Message::SourceEnded);
    }
}

/// Turns the first signal into a message, on a thread that ends with the handle.
fn listen_for_signals(sender: Sender<Message>) -> Result<Handle> {
    let again = std::sync::Arc::default();
    for signal in TERM_SIGNALS {
        // In this order: the first signal only arms the shutdown that the second one makes.
        flag::register_conditional_shutdown(*signal, 1, std::sync::Arc::clone(&again))
            .and_then(|_| flag::register(*signal, std::sync::Arc::clone(&again)))
            .context("cannot take signals")?;
    }
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot take signals")?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            let _ = sender.send(Message::Stop("signal"));
        }
    })?;
    Ok(handle)
}

/// Where the cgroup v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` where
/// the older hierarchies are mounted too.
pub(super) fn cgroup_root() -> Result<PathBuf> {
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

    #[test]
    fn a_source_that_ends_tells_the_owner() {
        let (sender, messages) = mpsc::channel();
        drop(Feed(sender));
        assert!(matches!(messages.recv(), Ok(Message::SourceEnded)));
    }
}
