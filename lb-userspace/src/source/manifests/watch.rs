//! Follows the folder on a thread of its own.
//!
//! The kernel's notifications only say that something happened: each leads to a scan, which finds
//! out what. So a lost, merged or misunderstood notification cannot lose a change, and a burst of
//! them costs one scan. The watch is set before the scan, and what happens during a scan leads to
//! another one. This module must never read a manifest itself.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};

use super::{Error, Event, Report, Source};
use crate::joined::Joined;

/// A scan begins when the folder was quiet for this long,
const QUIET: Duration = Duration::from_millis(20);
/// or after this long in any case.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often the folder is scanned without a notification, for what inotify cannot see: the target
/// of a link in another folder, network file systems, a folder that is replaced or back again.
const RESCAN: Duration = Duration::from_secs(2);

/// Follows a folder until it is dropped, which ends its thread and waits for that.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
    _thread: Joined,
}

/// Sends everything in the folder to `out`, then [`Event::Synced`], then each change, from a thread
/// of its own. `Synced` waits until every file has been read without error once: until the last
/// broken one is corrected or removed. Problems that it survives go to `report`. Neither `out` nor
/// `report` may block for ever: dropping the [`Watcher`] waits for them.
///
/// # Errors
/// If the folder does not exist or cannot be watched, or the thread cannot be started.
pub fn watch(
    dir: &Path,
    out: impl FnMut(Event) + Send + 'static,
    report: impl FnMut(Report) + Send + 'static,
) -> Result<Watcher, Error> {
    // Room for one: a wake-up that is not yet taken stands for all that follow.
    let (wake, woken) = sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let watch = Some(Watch::new(dir, wake.clone())?);
    let dir = dir.to_path_buf();
    let follower = Follower { dir, watch, wake: wake.clone(), woken, stop: stop.clone() };
    let thread =
        Joined::spawn("manifests", move || follower.run(out, report)).map_err(Error::Thread)?;
    Ok(Watcher { stop, wake, _thread: thread })
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // If there is no room, the thread has a wake-up to take already.
        let _ = self.wake.try_send(());
    }
}

struct Follower {
    dir: PathBuf,
    watch: Option<Watch>,
    wake: SyncSender<()>,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    fn run(mut self, mut out: impl FnMut(Event), mut report: impl FnMut(Report)) {
        let mut source = Source::new(&self.dir);
        while !self.stop.load(Ordering::Acquire) {
            self.renew_watch();
            // A failure is among the reports, and the next scan tries again.
            let _ = source.scan(Instant::now(), &mut out, &mut report);
            let due = source.due().map(|due| due.saturating_duration_since(Instant::now()));
            if self.woken.recv_timeout(due.unwrap_or(RESCAN).min(RESCAN)).is_ok() {
                self.settle();
            }
        }
    }

    /// Waits until a burst is over.
    fn settle(&self) {
        let begin = Instant::now();
        while let Some(left) = PATIENCE.checked_sub(begin.elapsed()) {
            if self.stop.load(Ordering::Acquire)
                || self.woken.recv_timeout(QUIET.min(left)).is_err()
            {
                return;
            }
        }
    }

    /// Makes sure that the folder of this name is the one that is watched. While it cannot be,
    /// the scans at intervals have to do, and each tries again.
    fn renew_watch(&mut self) {
        let now = identity(&self.dir).ok();
        if self.watch.as_ref().map(|watch| watch.folder) != now {
            self.watch = Watch::new(&self.dir, self.wake.clone()).ok();
        }
    }
}

/// A watch on one folder, by its inode: it does not follow the name to another folder.
struct Watch {
    folder: (u64, u64),
    _watcher: RecommendedWatcher,
}

impl Watch {
    fn new(dir: &Path, wake: SyncSender<()>) -> Result<Self, Error> {
        let cannot_watch = |source| Error::Watch { dir: dir.to_path_buf(), source };
        // Taken before the watch: if the folder is replaced in between, this is the old one's
        // identity, and the next look notices the difference.
        let folder =
            identity(dir).map_err(|source| Error::Folder { dir: dir.to_path_buf(), source })?;
        let handler = move |event| {
            if matters(&event) {
                // If there is no room, a scan is due already.
                let _ = wake.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(handler).map_err(cannot_watch)?;
        watcher.watch(dir, RecursiveMode::NonRecursive).map_err(cannot_watch)?;
        Ok(Self { folder, _watcher: watcher })
    }
}

/// Device and inode of a folder.
fn identity(dir: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(dir)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok((metadata.dev(), metadata.ino()))
}

/// Everything but reading, which the scans themselves do. Errors and overflows count.
fn matters(event: &notify::Result<notify::Event>) -> bool {
    match event {
        Ok(event) if event.need_rescan() => true,
        Ok(event) => match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use notify::event::{CreateKind, Flag};

    use super::*;

    fn follower(dir: &Path) -> Follower {
        let (wake, woken) = sync_channel(1);
        let watch = Some(Watch::new(dir, wake.clone()).expect("a watch"));
        Follower { dir: dir.to_path_buf(), watch, wake, woken, stop: Arc::default() }
    }

    #[test]
    fn the_watch_follows_the_name() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("dir");
        fs::create_dir(&dir).unwrap();
        let mut follower = follower(&dir);
        let watched = |follower: &Follower| follower.watch.as_ref().map(|watch| watch.folder);
        let first = watched(&follower);
        assert_eq!(first, identity(&dir).ok());

        fs::rename(&dir, parent.path().join("old")).unwrap();
        follower.renew_watch();
        assert_eq!(watched(&follower), None);

        fs::create_dir(&dir).unwrap();
        follower.renew_watch();
        assert_ne!(watched(&follower), first);
        assert_eq!(watched(&follower), identity(&dir).ok());
        // What came from the old watch, so that the next wake-up is from the new one.
        while follower.woken.try_recv().is_ok() {}
        fs::write(dir.join("a.yaml"), "").unwrap();
        follower.woken.recv_timeout(Duration::from_secs(20)).expect("a wake-up");
    }

    #[test]
    fn settling_takes_a_silence_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let follower = follower(dir.path());
        let begin = Instant::now();
        follower.settle();
        assert!(begin.elapsed() >= QUIET);

        let over = AtomicBool::new(false);
        let wake = follower.wake.clone();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let _ = wake.try_send(());
                    thread::yield_now();
                }
            });
            follower.settle();
            over.store(true, Ordering::Release);
        });
    }

    #[test]
    fn reading_is_no_news_but_an_overflow_is() {
        let event = |kind| Ok(notify::Event::new(kind));
        let reading = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(!matters(&event(reading)));
        assert!(matters(&event(EventKind::Access(AccessKind::Close(AccessMode::Write)))));
        assert!(matters(&event(EventKind::Create(CreateKind::File))));
        assert!(matters(&Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan))));
        assert!(matters(&Ok(notify::Event::new(reading).set_flag(Flag::Rescan))));
        assert!(matters(&Err(notify::Error::generic("queue"))));
    }
}
