//! What holds of every selection, whatever it loaded: each answer follows from the loads before it,
//! and there are no more loads than the kernel's verifier counts with.

use lb_common::{Earlier, Range, Selected, Selection, layout::CIDRS, select::LOOKUPS};

use super::{
    family::{Destination, Entry, Sample},
    machine::Load,
    seen::Seen,
};

/// Backends that one search for an id looks at: the hint, then 28 bisections.
const SEARCH: usize = 1 + 28;

/// Searches for the earlier backend and the remembered one, the id of a new one, and the choice.
const BACKENDS: usize = 2 * SEARCH + 1 + 1;

const SECOND: u64 = 1_000_000_000;

/// Panics if the answer does not follow from the loads.
pub(crate) fn check<F: Sample>(
    log: &[Load],
    asked: &Destination,
    earlier: Option<Earlier>,
    selection: &Selection<Entry>,
) {
    bounds(log);
    let tag = F::tag(&F::key(asked));
    let seen = Seen(log);
    let values = seen.values();
    let Some((last, before)) = values.split_last() else { panic!("the key was not looked up") };
    assert!(before.iter().all(|value| value.is_some_and(|it| it.tag != tag)), "looked up again");
    let slot = match last {
        None => None,
        Some(value) if value.tag == tag => Some(value.slot),
        Some(_) => {
            assert!(matches!(selection, Selection::Unsettled));
            return assert!(log.len() == LOOKUPS as usize, "gave up early, or went on");
        }
    };
    let range = slot.map(|slot| seen.range(slot));
    match (range, selection) {
        (None | Some(Some(Range::GONE)), Selection::Unserved) => assert!(seen.refuses::<F>()),
        (None | Some(Some(Range::GONE)), Selection::NotAFrontend) => assert!(!seen.refuses::<F>()),
        (Some(Some(Range::PASS)), Selection::NotAFrontend) => {}
        (Some(None), Selection::Corrupt) => {}
        (Some(Some(range)), selection) => {
            assert!(range != Range::GONE && range != Range::PASS, "{selection:?}");
            let slot = slot.expect("the range is of a slot");
            let switches = seen.switches();
            assert_eq!(switches.len(), 1);
            let is_for = seen.is_for(switches[0], seen.traits(slot).0);
            match selection {
                Selection::NotAFrontend => assert!(!is_for),
                Selection::NoBackend => assert!(is_for && range.count == 0),
                Selection::Corrupt => {
                    assert!(is_for && range.count > 0);
                    assert_eq!(seen.backends(range).last().map(|(_, id)| *id), Some(None));
                }
                Selection::Backend(selected) => {
                    assert!(is_for);
                    backend(&seen, slot, range, earlier, selected);
                }
                other => panic!("{other:?} in a slot"),
            }
        }
        (range, selection) => panic!("{selection:?} of {range:?}"),
    }
}

/// Panics if a datagram went where earlier ones went, and may not go there any more.
pub(crate) fn stayed(log: &[Load], tag: u32, slot: u32, earlier: Earlier, stayed: Option<u32>) {
    bounds(log);
    let seen = Seen(log);
    assert!(seen.values().is_empty(), "the key was looked up");
    let Some(position) = stayed else { return };
    let range = seen.range(slot).expect("a slot of the table");
    let (flags, its) = seen.traits(slot);
    assert_eq!(its, tag, "the slot is another frontend's");
    assert!(seen.is_for(seen.switches()[0], flags));
    assert!(seen.backends(range).contains(&(position, Some(earlier.backend))));
}

fn bounds(log: &[Load]) {
    let count = |is: fn(&Load) -> bool| log.iter().filter(|load| is(load)).count();
    let at_most = |bound, is| assert!(count(is) <= bound, "too many loads of one kind: {log:?}");
    at_most(LOOKUPS as usize, |load| matches!(load, Load::Frontend { marker: false, .. }));
    at_most(1, |load| matches!(load, Load::Frontend { marker: true, .. }));
    at_most(1, |load| matches!(load, Load::Range { .. }));
    at_most(1, |load| matches!(load, Load::Identity { .. }));
    at_most(1, |load| matches!(load, Load::Traits { .. }));
    at_most(BACKENDS, |load| matches!(load, Load::Backend { .. }));
    at_most(CIDRS, |load| matches!(load, Load::Cidr { .. }));
    at_most(3, |load| matches!(load, Load::Switches(_)));
    at_most(2, |load| matches!(load, Load::Judged { .. }));
    at_most(1, |load| matches!(load, Load::Remembered { .. }));
    at_most(1, |load| matches!(load, Load::Now(_)));
    at_most(1, |load| matches!(load, Load::Random(_)));
}

/// Panics unless the backend is one of the range, chosen for a reason.
fn backend(
    seen: &Seen,
    slot: u32,
    range: Range,
    earlier: Option<Earlier>,
    selected: &Selected<Entry>,
) {
    let (service, affinity) = seen.identity(slot);
    let Selected { backend, slot: of, service: its, position } = selected;
    assert!((*of, *its) == (slot, service), "another Service's");
    assert!(*position < range.count, "outside of the range");
    let backends = seen.backends(range);
    let (last, id) = *backends.last().expect("a backend was loaded");
    assert!(last == *position && id == Some(backend.id), "not the one that was loaded");
    assert_eq!(backend.index, range.first.wrapping_add(*position));

    let stands = |id| backends[..backends.len() - 1].contains(&(*position, Some(id)));
    let Some(random) = seen.random() else {
        let earlier = earlier.expect("neither a random number nor an earlier backend");
        return assert!(stands(earlier.backend), "not the earlier backend");
    };
    let fresh = (u64::from(random) * u64::from(range.count) / (1 << 32)) as u32;
    let judged = seen.judged();
    if affinity == 0 {
        assert!(judged.is_empty() && seen.remembered().is_none());
        return assert_eq!(*position, fresh);
    }
    let now = seen.now();
    for (known, next) in &judged {
        assert!(next.is_none() || known.is_some());
        if let (Some(known), Some(next)) = (known, next) {
            assert!((next.used, next.hint) == (now, *position));
            let in_time = now.saturating_sub(known.used) <= u64::from(affinity) * SECOND;
            let kept = in_time && next.backend == known.backend && stands(known.backend);
            let is_new = *position == fresh
                && backends.iter().any(|(at, id)| *at == fresh && id.unwrap_or(0) == next.backend);
            assert!(kept || is_new, "neither the client's backend nor a new one");
        }
    }
    let of_client = judged.iter().flat_map(|(known, _)| known).any(|known| stands(known.backend));
    assert!(*position == fresh || of_client, "a backend that nobody chose");
    match seen.remembered() {
        Some((value, done)) => {
            assert!((value.used, value.hint) == (now, fresh));
            assert!(!done || *position == fresh, "another backend than was remembered");
            assert!(judged.len() == if done { 1 } else { 2 });
            let met = seen.met_after_remembering(range);
            let other = judged.get(1).and_then(|(known, _)| *known);
            let follows =
                other.and_then(|other| met.iter().find(|(_, id)| *id == Some(other.backend)));
            assert!(follows.is_none_or(|(at, _)| at == position), "did not follow the faster one");
        }
        None => assert!(judged.len() == 1 && judged[0].0.is_some(), "nothing is remembered"),
    }
}
