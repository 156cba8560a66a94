//! Pods that must not be balanced, and the network namespaces by which the programs know them.
//!
//! ```text
//!  Pods, Namespaces ──> who opts out, and with what addresses ──> the namespaces on this node that
//!                       (rules)                                   have them ──> their cookies
//! ```
//!
//! A Pod opts out by the label or annotation `socklb.io/opt-out: "true"`, by the same label on its
//! Namespace, or because a selector on the command line matches. The most explicit word counts: the
//! Pod's own (its label before its annotation), then its Namespace's, then the selectors. So
//! `"false"` on a Pod keeps it in though its Namespace opts out.
//!
//! A Pod is found by its address, in whatever namespace on this node has it, so that nothing has
//! to be known of container runtimes. Pods in the host's network have no namespace of their own
//! and cannot opt out. The cookie of a namespace can be learnt from Linux 5.14 on (SO_NETNS_COOKIE).
//!
//! A Pod whose namespace is not found is looked for again after 100 ms at first and 10 s at last,
//! and whenever something is told of a Pod that opts out; until then it counts where it was found
//! before. Of each Pod of this node about 250 bytes are kept, since its Namespace's label may change,
//! and of one that was found a kilobyte more.
//!
//! This module must never touch the tables: whoever starts it gets the cookies, and does.

mod find;
mod known;
mod registry;
mod resolve;
mod selector;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    sync::mpsc::{self, Sender, SyncSender},
};

pub use self::{
    find::{Find, FindError, Found, OnThisNode},
    registry::Rules,
    selector::{Selector, SelectorError},
};
use self::{registry::Registry, resolve::Resolver};
use crate::{
    joined::Joined,
    source::{Event, Kind, Object, ObjectKey},
};

/// The label or annotation of a Pod, and the label of a Namespace, by which Pods opt out (`"true"`)
/// or in (`"false"`).
pub const OPT_OUT: &str = "socklb.io/opt-out";

/// Resolves opt-outs on a thread of its own until it is dropped, which waits for the thread's end.
#[derive(Debug)]
pub struct OptOuts {
    /// Dropped first, which ends the thread.
    messages: Sender<Message>,
    _thread: Joined,
}

/// What reaches the thread.
enum Message {
    Apply(Object),
    Delete(ObjectKey),
    /// Answer when all that was sent before has been looked for.
    Settle(SyncSender<()>),
}

impl OptOuts {
    /// Starts the thread, in the calling thread's network namespace. `out` gets the cookies of all
    /// namespaces that opt out: once before the first [`Event::Synced`] is let through, and again
    /// whenever they changed. It may not block for ever.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        rules: Rules,
        find: impl Find + Send + 'static,
        out: impl FnMut(&BTreeSet<u64>) + Send + 'static,
    ) -> io::Result<Self> {
        let (messages, received) = mpsc::channel();
        let thread = Joined::spawn("opt-outs", move || {
            Resolver::new(Registry::new(rules), find, out).run(&received);
        })?;
        Ok(Self { messages, _thread: thread })
    }

    /// Keeps what is told of Pods and Namespaces, and returns everything else.
    ///
    /// [`Event::Synced`] is returned when the Pods told before it have been looked for, and what was
    /// found has been handed out: so nobody who waits for it attaches programs that do not know yet
    /// whom to leave alone. If searches fail, that takes up to three seconds, and then nobody opts
    /// out until one succeeds.
    pub fn take(&self, event: Event) -> Option<Event> {
        match event {
            Event::Apply(object @ (Object::Pod(_) | Object::Namespace(_))) => {
                self.send(Message::Apply(object));
                None
            }
            Event::Delete(key @ ObjectKey { kind: Kind::Pod | Kind::Namespace, .. }) => {
                self.send(Message::Delete(key));
                None
            }
            Event::Synced => {
                let (settled, answer) = mpsc::sync_channel(1);
                self.send(Message::Settle(settled));
                // An error means that the thread panicked, and said so.
                let _ = answer.recv();
                Some(Event::Synced)
            }
            other => Some(other),
        }
    }

    fn send(&self, message: Message) {
        // As above.
        let _ = self.messages.send(message);
    }
}
