//! What a double can be told to do wrong while it runs, and the rotation of its credentials.
//!
//! Nothing here may change an object.

use std::{
    io,
    sync::{
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
};

use anyhow::{Context, Result};

use super::{
    double::{Double, new_token},
    faults::Fault,
    listen::Command,
    resource::Resource,
    status,
    store::Item,
    tls::Identity,
    watch::error_line,
    wire::{Control, Ending},
};

/// Octets after which an answer is cut: more than the size of a chunk, less than the line that is on
/// its way then.
const CUT: usize = 24;
const UNFINISHED: &str =
    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"unfinished\"}}}\n";

impl Double {
    /// Puts a fault in force.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().inject(fault);
    }

    /// Ends all faults that were [`inject`](Self::inject)ed.
    pub fn heal(&self) {
        self.shared.faults().heal();
    }

    /// Stops listening: connects are refused. Connections stay.
    ///
    /// # Errors
    /// When its thread has ended.
    pub fn close(&self) -> Result<()> {
        self.tell(Command::Close)
    }

    /// Listens again, at the same port.
    ///
    /// # Errors
    /// When the port is another's by now.
    pub fn open(&self) -> Result<()> {
        self.tell(Command::Open)
    }

    /// Ends all connections at once.
    pub fn hang_up(&self, ending: Ending) {
        self.shared.each_connection(|control| control.end(ending));
    }

    /// Falls silent: connections are accepted and stay, but nothing is read or said any more.
    pub fn silence(&self) {
        self.shared.silent.store(true, Ordering::SeqCst);
        self.shared.each_connection(Control::silence);
    }

    /// New connections are served again. Those that were silent stay so, as if the peer had forgotten
    /// them.
    pub fn speak(&self) {
        self.shared.silent.store(false, Ordering::SeqCst);
    }

    /// Ends the connections of the resource's watches, in the middle of an event.
    pub fn cut_watches(&self, resource: Resource, ending: Ending) {
        let mut store = self.shared.store();
        for watcher in store.table(resource).watchers.iter().filter(|it| !it.items.is_closed()) {
            watcher.control.cut_after(CUT, ending);
        }
        store.table_mut(resource).hand(|| Item::Line(UNFINISHED.into()));
    }

    /// Says something in the resource's watches that is no JSON.
    pub fn garble_watches(&self, resource: Resource) {
        self.say_in_watches(resource, "{\"type\":\"ADDED\",\"object\":}}");
    }

    /// Says a line in the resource's watches, whatever it means.
    pub fn say_in_watches(&self, resource: Resource, line: &str) {
        let line = || Item::Line(format!("{line}\n").into());
        self.shared.store().table_mut(resource).hand(line);
    }

    /// Ends the resource's watches in order, as their timeout does.
    pub fn end_watches(&self, resource: Resource) {
        self.shared.store().table_mut(resource).hand(|| Item::End);
    }

    /// Tells the resource's watches that what they would have to be told next is forgotten (410), and
    /// ends them.
    pub fn expire_watches(&self, resource: Resource) {
        let mut store = self.shared.store();
        let refusal = status::too_old(store.version, store.version);
        let table = store.table_mut(resource);
        table.hand(|| Item::Line(error_line(&refusal)));
        table.hand(|| Item::End);
    }

    /// Accepts another token from now on, and no longer that before.
    pub fn rotate_token(&self) {
        *self.shared.token() = new_token();
    }

    /// Shows a certificate of another CA to connections from now on.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn rotate_ca(&self) -> Result<()> {
        let identity = Identity::new()?;
        *self.shared.identity() = Some(identity);
        Ok(())
    }

    fn tell(&self, command: impl FnOnce(SyncSender<io::Result<()>>) -> Command) -> Result<()> {
        let (sender, done) = sync_channel(1);
        let commands = self.commands.as_ref().context("it has ended")?;
        commands.send(command(sender)).ok().context("its thread has ended")?;
        Ok(done.recv().context("its thread has ended")??)
    }
}
