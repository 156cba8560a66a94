//! `socklb run`: puts the agent together.
//!
//! Nothing is decided here but the order of starting; a new source or a new table is one more line.

pub(super) mod cgroup;
mod descriptors;
mod lacks;
mod node;
mod settings;
mod signals;
mod source;

use std::{
    path::Path,
    sync::mpsc::{self, Sender},
};

use anyhow::{Context as _, Error, Result, bail};
use sd_notify::NotifyState;
use tracing::{info, warn};

use self::{
    lacks::{Here, lacks},
    node::Node,
};
use super::has_ipv6;
use crate::{
    agent::{Core, Message, Owner},
    chain::chain,
    cli::{PINS, Run},
    dataplane::{
        AttachError, Attachment, KernelConfig, KernelGrace, Object, PinDir, Settings, carried,
    },
    health::Health,
    metrics::Metrics,
    model::Model,
    netns,
    optout::{OnThisNode, OptOuts},
    publish::{Failure, Ids, Publisher, Reason, Sizes},
    source::addresses,
};

/// Runs until SIGINT, SIGQUIT or SIGTERM; a second one ends it at once.
pub fn run(options: Run) -> Result<()> {
    let (sender, messages) = mpsc::channel();
    let signals = signals::listen(sender.clone())?;
    descriptors::raise();
    // The lock early: a second agent must fail before it makes anything.
    let pins = if options.no_pin { None } else { Some(open(&options.pin)?) };
    tell_of_others(pins.as_ref());
    let hierarchy = options.cgroup.clone().map_or_else(cgroup::root, Ok)?;
    let mut settings = settings::object(&options);
    let configuration = settings::configuration(&options, netns::current_cookie()?)?;
    let ids = carry_over(pins.as_ref(), &mut settings);
    let mut object = Object::load(&settings)?;
    report(&object, options.cgroup.is_some() || cgroup::is_the_nodes())?;
    let config = KernelConfig::new(&object, &configuration)?;
    let metrics = Metrics::new();
    let closer = node::closer(&mut object, options.close_stale, metrics.clone())?;

    let ended = sender.clone();
    let grace = KernelGrace::new(move || {
        // The owner is gone when this fails, and needs no waking.
        let _ = ended.send(Message::GraceEnded);
    })?;
    let publisher = Publisher::new(object.store()?, grace, settings.sizes, ids);
    let core = Core::new(Model::new(settings::model(&options)), publisher);
    let node = Node::new(config, closer, &options);
    let health = Health::new(sender.clone(), metrics.clone(), object.decisions()?);
    let served = options.health.map(|address| {
        let served = health.clone().serve(address);
        served.with_context(|| format!("--health {address}: cannot serve there"))
    });
    let served = served.transpose()?;
    // In this order, so that the owner knows the node's addresses and who opts out when everything
    // is listed.
    let addresses = {
        let feed = sender.clone();
        addresses::watch(move |event| {
            let _ = feed.send(Message::Event(event, None));
        })?
    };
    let opt_outs = {
        let feed = sender.clone();
        OptOuts::start(settings::rules(&options), OnThisNode, move |cookies| {
            let _ = feed.send(Message::OptOuts(cookies.clone()));
        })?
    };
    let feed = Feed(sender);
    let out = move |event, arrival| {
        if let Some(event) = opt_outs.take(event) {
            feed.send(Message::Event(event, arrival));
        }
    };
    let source = source::start(&options, out, metrics.clone())?;

    let pinned = pins.is_some();
    let sizes = settings.sizes;
    let attached = Owner::new(core, node, messages, metrics).run(|failures| {
        if let Some(pins) = pins.as_ref().filter(|pins| pins.in_force())
            && are_worse(failures, carried::sizes(pins.path()), sizes)
        {
            bail!(
                "{} frontends could not be published, see above: the tables of the agent before \
                 stay in force",
                failures.len()
            );
        }
        let attachment = Attachment::new(&object, &hierarchy, pins)?;
        info!(cgroup = %hierarchy.display(), "attached: connections are balanced");
        health.set_ready();
        if let Err(error) = sd_notify::notify(false, &[NotifyState::Ready]) {
            warn!(%error, "cannot report readiness to NOTIFY_SOCKET");
        }
        Ok(attachment)
    });
    signals.close();
    drop((source, addresses, served));
    if attached?.is_some() && pinned {
        info!(
            "the node keeps balancing with the last tables; `socklb cleanup --pin {}` ends that",
            options.pin.display()
        );
    }
    Ok(())
}

fn open(pin: &Path) -> Result<PinDir> {
    PinDir::open(pin).map_err(|error| match error {
        AttachError::NotBpffs { .. } => {
            Error::new(error).context("nothing can be pinned (--no-pin does without)")
        }
        other => other.into(),
    })
}

/// Warns if programs are in force that this agent does not replace.
fn tell_of_others(pins: Option<&PinDir>) {
    let usual = Path::new(PINS);
    if pins.is_none_or(|pins| pins.path() != usual) && PinDir::holds_programs(usual) {
        warn!(
            "programs that another agent pinned in {PINS} are in force beside this one's: \
             `socklb cleanup` ends that"
        );
    }
}

/// Takes over what the generation before left for this one: the ids, and the maps that name them.
/// Both or neither, since an id means nothing without the other.
fn carry_over(pins: Option<&PinDir>, settings: &mut Settings) -> Ids {
    let Some(pins) = pins.filter(|pins| pins.in_force()) else { return Ids::default() };
    match carried::ids(pins.path()) {
        Ok(ids) => {
            settings.carried = Some(pins.path().to_owned());
            ids
        }
        Err(error) => {
            warn!(
                error = chain(&error),
                "the tables of the agent before are not carried over: clients with session \
                 affinity choose anew, and sockets made so far show their backend's address"
            );
            Ids::default()
        }
    }
}

/// Whether tables serve less than those before, of which these are the sizes, if they can be read.
/// Tables of the same size that are full again are no reason, though another frontend may find no
/// room: no later start would find more, and nobody would follow the old ones.
fn are_worse(failures: &[Failure], before: Option<Sizes>, now: Sizes) -> bool {
    let is_refused = |failure: &Failure| matches!(failure.source, Reason::Store(_));
    let shrunk = before
        .is_none_or(|before| now.frontends < before.frontends || now.backends < before.backends);
    failures.iter().any(|failure| shrunk || is_refused(failure))
}

/// Logs what was made, and what this kernel lacks.
fn report(object: &Object, serves_the_node: bool) -> Result<()> {
    let sizes = object.sizes();
    info!(
        frontends = sizes.frontends,
        backends = sizes.backends,
        bytes = object.memory()?,
        "tables made"
    );
    let here = Here {
        refuses_with_errno: object.refuses_with_errno,
        has_ipv6: has_ipv6(),
        sees_the_node: netns::sees_the_node(),
        serves_the_node,
    };
    lacks(here, object.programs()).for_each(|lack| warn!("{lack}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_ends_tells_the_owner() {
        let (sender, messages) = mpsc::channel();
        drop(Feed(sender));
        assert!(matches!(messages.recv(), Ok(Message::SourceEnded)));
    }
}
