//! Grace periods from the kernel: after one, no BPF program runs that was running at its start.
//!
//! Updating an array of maps makes the kernel wait for its RCU readers, and cgroup programs are
//! such readers. `membarrier(2)` is no substitute: it does not wait where there is one CPU. The
//! waiting is done by a thread of its own, so that publication goes on meanwhile.
//!
//! A period must never count as over before that call has returned.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
};

use super::sys;
use crate::{
    joined::Joined,
    publish::{Grace, GraceError},
};

/// Makes grace periods on a thread of its own, one at a time.
pub struct KernelGrace {
    /// Dropped first, which ends the thread.
    requests: Sender<()>,
    _thread: Joined,
    results: Receiver<io::Result<()>>,
}

impl KernelGrace {
    /// Starts the thread. `ended` is called on it at the end of each grace period.
    pub fn new(ended: impl Fn() + Send + 'static) -> Result<Self, GraceError> {
        let inner = sys::create_array(None)?;
        let outer = sys::create_array(Some(inner.as_fd()))?;
        let (requests, requested) = mpsc::channel();
        let (done, results) = mpsc::channel();
        let thread = Joined::spawn("grace", move || {
            serve(&outer, &inner, &requested, &done, &ended);
        })?;
        Ok(Self { requests, _thread: thread, results })
    }
}

fn serve(
    outer: &OwnedFd,
    inner: &OwnedFd,
    requested: &Receiver<()>,
    done: &Sender<io::Result<()>>,
    ended: &impl Fn(),
) {
    for () in requested {
        let result = sys::replace_inner(outer.as_fd(), inner.as_fd());
        if done.send(result).is_err() {
            return;
        }
        ended();
    }
}

impl Grace for KernelGrace {
    fn start(&mut self) -> Result<(), GraceError> {
        self.requests.send(()).map_err(|_| thread_ended().into())
    }

    fn is_over(&mut self) -> Result<bool, GraceError> {
        match self.results.try_recv() {
            Ok(result) => Ok(result.map(|()| true)?),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => Err(thread_ended().into()),
        }
    }

    fn wait(&mut self) -> Result<(), GraceError> {
        self.results.recv().map_err(|_| thread_ended())?.map_err(GraceError::from)
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the thread that makes grace periods has ended")
}
