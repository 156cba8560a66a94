//! What a selection has to answer while nothing changes, said the long way: by what the tables mean,
//! not by what order they are loaded in.

use lb_common::{
    Earlier, Range, Selection,
    layout::{AffinityKey, HOST_ONLY},
};

use super::{
    family::{Destination, Entry, Sample},
    loads::is_in,
    machine::{Machine, State},
};

/// The longest range in which a backend has to be found.
const SEARCHABLE: u32 = (1 << 28) - 1;
const SECOND: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) enum Expected {
    NotAFrontend,
    Unserved,
    NoBackend,
    Corrupt,
    Unsettled,
    /// The slot and position, and what is remembered of the client then.
    Backend {
        slot: u32,
        position: u32,
        client: Option<AffinityKey>,
    },
    /// Ids that are in no order: they may be found or not.
    Unordered,
}

pub(crate) fn selection<F: Sample>(
    machine: &Machine,
    asked: &Destination,
    earlier: Option<Earlier>,
) -> Expected {
    let state = machine.state();
    let listed = |at: &Destination| {
        state.frontends[F::INDEX].iter().find(|(key, _)| key == at).map(|(_, value)| *value)
    };
    let is_marked = listed(&asked.marker()).is_some();
    let Some(value) = listed(asked) else { return nobodys::<F>(&state, asked, is_marked) };
    if value.tag != F::tag(&F::key(asked)) {
        return Expected::Unsettled;
    }
    let Some(service) = state.slot(value.slot) else { return Expected::Corrupt };
    match service.range {
        Range::GONE => return nobodys::<F>(&state, asked, is_marked),
        Range::PASS => return Expected::NotAFrontend,
        _ if !sees(&state, service.flags) => return Expected::NotAFrontend,
        Range { count: 0, .. } => return Expected::NoBackend,
        _ => {}
    }
    let Range { first, count } = service.range;
    let fresh = ((u64::from(state.random) * u64::from(count)) >> 32) as u32;
    let key = AffinityKey { client: state.netns, service: service.id, reserved: 0 };
    let known = state.element(&key).and_then(|at| state.affinity[at]).map(|(_, value)| value);
    let in_time = known.filter(|known| {
        let idle = state.now - known.used.min(state.now);
        service.affinity > 0 && idle <= u64::from(service.affinity) * SECOND
    });

    let mut wanted = Vec::new();
    wanted.extend(earlier.map(|earlier| (earlier.backend, false)));
    wanted.extend(in_time.map(|known| (known.backend, true)));
    let mut position = (fresh, service.affinity > 0);
    if !wanted.is_empty() {
        let Some(ids) = Ids::of::<F>(&state, service.range) else { return Expected::Unordered };
        if let Some(found) =
            wanted.iter().find_map(|(id, remembers)| Some((ids.find(*id)?, *remembers)))
        {
            position = found;
        }
    }
    let (position, remembers) = position;
    if state.backends[F::INDEX].id(first.wrapping_add(position)).is_none() {
        return Expected::Corrupt;
    }
    let has_room = known.is_some() || state.affinity.iter().flatten().count() < state.room;
    let client = (remembers && has_room).then_some(key);
    Expected::Backend { slot: value.slot, position, client }
}

/// Whether a frontend with these flags exists for the client.
fn sees(state: &State, flags: u32) -> bool {
    let is_host = state.netns == state.host;
    let is_excluded = state.config.opt_outs && state.config.opted_out;
    (is_host || !(state.config.host_scope || flags & HOST_ONLY != 0)) && !is_excluded
}

fn nobodys<F: Sample>(state: &State, asked: &Destination, is_marked: bool) -> Expected {
    let used = usize::from(state.config.cidrs[F::INDEX]);
    let is_inside = state.cidrs[F::INDEX].iter().take(used).any(|cidr| is_in::<F>(*cidr, asked));
    if state.config.refuse && is_inside && !is_marked && sees(state, 0) {
        Expected::Unserved
    } else {
        Expected::NotAFrontend
    }
}

/// The ids of a range: those of an arithmetic progression.
struct Ids {
    first: u32,
    stride: u32,
    count: u32,
}

impl Ids {
    /// `None` if the range is not sorted, not in the table, or longer than any table.
    fn of<F: Sample>(state: &State, range: Range) -> Option<Self> {
        let table = &state.backends[F::INDEX];
        let last = range.first.checked_add(range.count - 1)?;
        let stride = u32::from(table.stride);
        let is_regular = !table.odd.iter().any(|(at, _)| (range.first..=last).contains(&at.get()));
        let base = u64::from(table.base.get());
        let highest = base + u64::from(last) * u64::from(stride);
        (last < table.size.get()
            && stride > 0
            && is_regular
            && highest <= u64::from(u32::MAX)
            && range.count <= SEARCHABLE)
            .then(|| Self { first: table.id(range.first).unwrap_or(0), stride, count: range.count })
    }

    fn find(&self, id: u32) -> Option<u32> {
        let distance = id.checked_sub(self.first)?;
        let position = distance / self.stride;
        (distance.is_multiple_of(self.stride) && position < self.count).then_some(position)
    }
}

impl Expected {
    /// Panics if the selection is another.
    pub(crate) fn check(&self, machine: &Machine, selection: &Selection<Entry>) {
        match (self, selection) {
            (Self::Unordered, Selection::Backend(_) | Selection::Corrupt)
            | (Self::NotAFrontend, Selection::NotAFrontend)
            | (Self::Unserved, Selection::Unserved)
            | (Self::NoBackend, Selection::NoBackend)
            | (Self::Corrupt, Selection::Corrupt)
            | (Self::Unsettled, Selection::Unsettled) => {}
            (Self::Backend { slot, position, client }, Selection::Backend(selected)) => {
                assert!((selected.slot, selected.position) == (*slot, *position), "{self:?}");
                if let Some(client) = client {
                    let state = machine.state();
                    let element = state.element(client).expect("the client is remembered");
                    let (_, value) = state.affinity[element].expect("the element is in use");
                    let id = selected.backend.id;
                    assert!(value.used == state.now && value.backend == id, "{value:?}");
                    assert_eq!(value.hint, *position);
                }
            }
            _ => panic!("{selection:?} instead of {self:?}"),
        }
    }
}
