//! One watch, for as long as the agent runs: lists, follows, waits after errors, begins again.
//!
//! This module must never end because of an error, nor say that a list has ended before it has.

use std::{
    cell::RefCell,
    time::{Duration, Instant, SystemTime},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::{StreamExt as _, pin_mut};
use jiff::Timestamp;
use kube::{
    Api, Resource,
    runtime::watcher::{self, watcher},
};
use tracing::{debug, info, warn};

use super::{
    Sink,
    fault::{Fault, advice, describe, fault},
    lean::{Lean, Trim},
    reflect::Reflect,
};
use crate::source::Arrival;

/// How long is waited after an error, at first and at most. Up to as much again is added by chance,
/// so that the agents of a cluster do not come back all at once.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a lasting outage is logged.
const REMIND: Duration = Duration::from_secs(60);
/// Objects of a page, where the server cannot stream lists. A slice may have 1,000 endpoints, about
/// 300 kB.
const PAGE: u32 = 250;
/// When the cause of a slice's change was seen, as RFC 3339.
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What is watched.
pub(super) struct Watch<T: Trim> {
    pub(super) api: Api<Lean<T>>,
    /// Selectors.
    pub(super) config: watcher::Config,
    /// The resource, for the log.
    pub(super) what: &'static str,
}

/// Follows `watch` for ever. What it tells goes through `reflect` to `sink`.
pub(super) async fn follow<T: Trim>(
    watch: Watch<T>,
    mut reflect: impl Reflect<T>,
    sink: &RefCell<Sink<'_>>,
) {
    let Watch { api, config, what } = watch;
    // A streamed list is never in memory as a whole, here or in the server.
    let mut config = config.streaming_lists().page_size(PAGE);
    let mut outage = Outage::new(what);
    loop {
        let steps = watcher(api.clone(), config.clone());
        pin_mut!(steps);
        while let Some(step) = steps.next().await {
            let error = match step {
                Ok(event) => {
                    outage.is_over(&event);
                    pass_on(event, &mut reflect, &mut sink.borrow_mut(), what);
                    continue;
                }
                Err(error) => error,
            };
            let fault = fault(&error);
            if fault == Fault::NoStreaming {
                debug!("{what}: the server does not stream lists: reading them in pages");
                config.initial_list_strategy = watcher::InitialListStrategy::ListWatch;
                break;
            }
            sink.borrow_mut().failed(what);
            let wait = outage.tell(&error);
            tokio::time::sleep(wait).await;
            if fault == Fault::Lost {
                break;
            }
        }
    }
}

fn pass_on<T: Trim>(
    event: watcher::Event<Lean<T>>,
    reflect: &mut impl Reflect<T>,
    sink: &mut Sink<'_>,
    what: &'static str,
) {
    use watcher::Event;
    match event {
        Event::Init => reflect.begin(),
        Event::InitApply(Lean(object)) => {
            reflect.apply(object, &mut |event| sink.send(event, None));
        }
        Event::InitDone => {
            reflect.end(&mut |event| sink.send(event, None));
            sink.listed(what);
        }
        Event::Apply(Lean(object)) => {
            let arrival = Some(Arrival { at: Instant::now(), trigger: trigger(&object) });
            reflect.apply(object, &mut |event| sink.send(event, arrival));
        }
        Event::Delete(Lean(object)) => {
            let arrival = Some(Arrival { at: Instant::now(), trigger: None });
            reflect.delete(&object, &mut |event| sink.send(event, arrival));
        }
    }
}

fn trigger(object: &impl Resource) -> Option<SystemTime> {
    let text = object.meta().annotations.as_ref()?.get(TRIGGER)?;
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

/// Errors one after the other: how long to wait, and what the log has been told.
struct Outage {
    what: &'static str,
    waits: ExponentialBackoff,
    /// The last wait, and its end.
    waited: Option<(Duration, Instant)>,
    told: Option<(Instant, String)>,
}

impl Outage {
    fn new(what: &'static str) -> Self {
        Self { what, waits: waits(), waited: None, told: None }
    }

    /// Logs an error, unless the log has it already. Returns how long to wait.
    fn tell(&mut self, error: &watcher::Error) -> Duration {
        let now = Instant::now();
        // A watch that lasted longer than was waited for it was worth it.
        if self.waited.is_none_or(|(wait, end)| now.saturating_duration_since(end) > wait) {
            self.waits = waits();
        }
        let (what, text) = (self.what, describe(error));
        let told = self
            .told
            .as_ref()
            .is_some_and(|(when, before)| *before == text && now.duration_since(*when) < REMIND);
        if told {
            debug!("{what}: {text}");
        } else {
            warn!("cannot watch {what}, trying again: {text}{}", advice(error));
            self.told = Some((now, text));
        }
        let wait = self.waits.next().unwrap_or(LONGEST_WAIT);
        self.waited = Some((wait, now + wait));
        wait
    }

    /// Hears an event. One that only says that a list is asked for is no sign of the server.
    fn is_over<T>(&mut self, event: &watcher::Event<T>) {
        if !matches!(event, watcher::Event::Init) && self.told.take().is_some() {
            info!("watching {} again", self.what);
        }
    }
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}
