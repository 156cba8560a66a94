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
    thread::{self, JoinHandle},
};

use super::sys;
use crate::publish::{Grace, GraceError};

/// Makes grace periods on a thread of its own, one at a time.
pub struct KernelGrace {
    /// Taken on drop, which ends the thread.
    requests: Option<Sender<()>>,
    results: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KernelGrace {
    /// Starts the thread. `ended` is called on it at the end of each grace period.
    pub fn new(ended: impl Fn() + Send + 'static) -> Result<Self, GraceError> {
        let inner = sys::create_array(None)?;
        let outer = sys::create_array(Some(inner.as_fd()))?;
        let (requests, requested) = mpsc::channel();
        let (done, results) = mpsc::channel();
        let thread = thread::Builder::new().name("grace".into()).spawn(move || {
            serve(&outer, &inner, &requested, &done, &ended);
        })?;
        Ok(Self { requests: Some(requests), results, thread: Some(thread) })
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
        let requests = self.requests.as_ref().ok_or_else(thread_ended)?;
        requests.send(()).map_err(|_| thread_ended().into())
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

impl Drop for KernelGrace {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the thread that makes grace periods has ended")
}
