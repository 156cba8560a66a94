//! The thread that waits for notifications and makes dumps.
//!
//! It must never give up: what fails is tried again, ever more slowly.

use std::{
    io::{self, PipeReader},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    dump::{Dump, dump, kube_ipvs},
    message::{Assigned, GONE_ADDRESS, NEW_ADDRESS},
    socket::Socket,
    subscribe,
};
use crate::source::Event;

/// The first pause after a failure; each further one is twice as long,
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// up to this.
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// Datagrams that are read before a dump is made, so that a flood cannot put it off.
const READ_AT_ONCE: usize = 4096;

pub(super) struct Follower {
    /// `None` after a failure.
    subscription: Option<Socket>,
    told: Dump,
    stopped: PipeReader,
}

/// Why a wait ended.
enum Woken {
    Stopped,
    Readable,
    Elapsed,
}

impl Follower {
    pub(super) fn new(subscription: Socket, told: Dump, stopped: PipeReader) -> Self {
        Self { subscription: Some(subscription), told, stopped }
    }

    pub(super) fn run(mut self, mut out: impl FnMut(Event)) {
        // What the first dump may have missed is found by the next one.
        let mut pause = (!self.told.consistent).then_some(FIRST_PAUSE);
        loop {
            match self.wait(pause) {
                Ok(Woken::Stopped) => return,
                Ok(Woken::Readable | Woken::Elapsed) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot wait for changes of the node's addresses");
                    // For want of memory, most likely. This must not become a busy loop.
                    thread::sleep(FIRST_PAUSE);
                }
            }
            match self.step(pause.is_some(), &mut out) {
                Ok(true) => pause = None,
                Ok(false) => pause = Some(longer(pause)),
                Err(error) => {
                    self.subscription = None;
                    pause = Some(longer(pause));
                    tracing::warn!(
                        %error, retry = ?pause.unwrap_or_default(),
                        "cannot follow the node's addresses: the last ones known stay in use"
                    );
                }
            }
        }
    }

    /// Waits for a notification, or as long as `pause` says, or for the end. During a pause
    /// notifications do not count: a dump follows anyhow.
    fn wait(&self, pause: Option<Duration>) -> io::Result<Woken> {
        let timeout = pause.map(|pause| Timespec::try_from(pause).expect("seconds fit a timespec"));
        let stopped = PollFd::new(&self.stopped, PollFlags::IN);
        let mut fds = match (&self.subscription, pause) {
            (Some(socket), None) => vec![stopped, PollFd::new(socket, PollFlags::IN)],
            _ => vec![stopped],
        };
        match poll(&mut fds, timeout.as_ref()) {
            // A signal; what came of it the next look tells.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(match (ready(0), ready(1)) {
            (true, _) => Woken::Stopped,
            (false, true) => Woken::Readable,
            (false, false) => Woken::Elapsed,
        })
    }

    /// Looks at what happened, makes a dump if it matters or `anyhow` is true, and hands out the set
    /// if it is another one. Returns false if another dump has to follow.
    fn step(&mut self, anyhow: bool, out: &mut impl FnMut(Event)) -> io::Result<bool> {
        let changed = match &mut self.subscription {
            Some(socket) => drain(socket, self.told.kube_ipvs)?,
            None => {
                self.subscription = Some(subscribe()?);
                true
            }
        };
        if !changed && !anyhow {
            return Ok(true);
        }
        let now = dump()?;
        if !now.consistent {
            return Ok(false);
        }
        if now.addresses != self.told.addresses {
            tracing::debug!(addresses = ?now.addresses, "the node's addresses changed");
            out(Event::LocalAddresses(now.addresses.clone()));
        }
        self.told = now;
        Ok(true)
    }
}

/// Reads what waits in the socket, and says whether the addresses may be others than before:
/// notifications got lost, an address came or went, or another interface is kube-proxy's now. Those
/// of kube-proxy's interface do not matter; there may be thousands.
fn drain(socket: &mut Socket, ignored: Option<u32>) -> io::Result<bool> {
    let mut changed = false;
    for _ in 0..READ_AT_ONCE {
        match socket.receive() {
            Ok(messages) => {
                changed |= messages
                    .filter(|message| [NEW_ADDRESS, GONE_ADDRESS].contains(&message.kind))
                    .any(|message| {
                        Assigned::read(message.payload)
                            .is_none_or(|found| Some(found.index) != ignored)
                    });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Some did not fit into the socket's buffer.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
            Err(error) => return Err(error),
        }
    }
    // An interface that was made, renamed or removed.
    Ok(changed || kube_ipvs(socket)? != ignored)
}

fn longer(pause: Option<Duration>) -> Duration {
    pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let mut pause = None;
        let pauses: Vec<_> = (0..10)
            .map(|_| {
                pause = Some(longer(pause));
                pause.unwrap().as_millis()
            })
            .collect();
        assert_eq!(pauses[..3], [100, 200, 400]);
        assert_eq!(pauses[7..], [10_000, 10_000, 10_000]);
    }
}
