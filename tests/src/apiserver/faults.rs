//! What a server can be told to do wrong with requests; what it does wrong with whole connections is in
//! [`wire`](super::wire).
//!
//! A fault is in force for the requests that it fits, from the moment that it is injected.

use std::time::Duration;

use super::resource::{Resource, Verb};

/// A fault, for all requests unless it is narrowed.
#[derive(Clone, Debug)]
pub struct Fault {
    resource: Option<Resource>,
    verb: Option<Verb>,
    times: Option<usize>,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The answer comes, but late.
    Delay(Duration),
    /// Another answer.
    Answer(Answer),
    /// 200, and a body that is no JSON after its beginning.
    Garbage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: u16,
    /// Seconds, as `Retry-After`.
    pub(super) retry_after: Option<u32>,
    /// The body is text, no `Status`: so answers a server that is too busy to look at the request.
    pub(super) plain: bool,
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Self { resource: None, verb: None, times: None, effect }
    }

    /// Answers come so much later.
    pub fn delay(by: Duration) -> Self {
        Self::new(Effect::Delay(by))
    }

    /// Requests are answered with this code, and a `Status` that fits.
    pub fn answer(code: u16) -> Self {
        Self::new(Effect::Answer(Answer { code, retry_after: None, plain: false }))
    }

    /// 429, 503 and the like are answered with `Retry-After`, and with text in place of a `Status`,
    /// as a server does that is too busy to look at the request.
    pub fn busy(code: u16, retry_after: u32) -> Self {
        let retry_after = Some(retry_after);
        Self::new(Effect::Answer(Answer { code, retry_after, plain: true }))
    }

    /// Requests are answered with 200 and a body that breaks off.
    pub fn garbage() -> Self {
        Self::new(Effect::Garbage)
    }

    /// Adds `Retry-After`, in seconds, to an answer.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        if let Effect::Answer(answer) = &mut self.effect {
            answer.retry_after = Some(seconds);
        }
        self
    }

    /// Only for this resource.
    #[must_use]
    pub fn on(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Only for this verb.
    #[must_use]
    pub fn to(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only for so many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// What befalls one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) delay: Duration,
    /// Never a delay.
    pub(super) instead: Option<Effect>,
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.0.clear();
    }

    /// What befalls a request. Delays add up; of other faults the first that fits counts.
    pub(super) fn judge(&mut self, resource: Resource, verb: Verb) -> Verdict {
        let mut verdict = Verdict::default();
        for fault in &mut self.0 {
            let fits = fault.resource.is_none_or(|it| it == resource)
                && fault.verb.is_none_or(|it| it == verb)
                && fault.times != Some(0);
            match fault.effect {
                Effect::Delay(by) if fits => verdict.delay += by,
                effect if fits && verdict.instead.is_none() => verdict.instead = Some(effect),
                _ => continue,
            }
            fault.times = fault.times.map(|times| times - 1);
        }
        self.0.retain(|fault| fault.times != Some(0));
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_befalls_what_it_fits_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.inject(Fault::delay(Duration::from_secs(1)));
        faults.inject(Fault::answer(503).on(Resource::Pods).times(1));
        faults.inject(Fault::garbage().to(Verb::List));
        let mut judge = |resource, verb| faults.judge(resource, verb).instead;
        assert_eq!(judge(Resource::Services, Verb::List), Some(Effect::Garbage));
        assert_eq!(judge(Resource::Services, Verb::Watch), None);
        let answer = Answer { code: 503, retry_after: None, plain: false };
        assert_eq!(judge(Resource::Pods, Verb::List), Some(Effect::Answer(answer)));
        assert_eq!(judge(Resource::Pods, Verb::List), Some(Effect::Garbage));
        assert_eq!(faults.judge(Resource::Nodes, Verb::Get).delay, Duration::from_secs(1));
        faults.heal();
        assert_eq!(faults.judge(Resource::Pods, Verb::List), Verdict::default());
    }
}
