//! The tables and the client of a world, as they are at the moment, and the log of what was loaded
//! from them.

use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
};

use lb_common::{
    FrontendValue, Range, Service, Switches,
    layout::{Affinity, AffinityKey},
};

use super::{
    family::{Destination, Sample},
    spec::{Address, Change, Cidr, Config, Kind, Known, Request, Table, Target, World},
};
use lb_common::{V4, V6};

/// More loads than any selection makes; one that gets here does not end.
const ENDLESS: usize = 1000;
const SECOND: i64 = 1_000_000_000;

/// Where a client goes that is sent to a frontend while there is none.
const NOWHERE: Target = Target { address: Address::Known(0), port: 80, kind: Kind::Tcp };

/// One load, with what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Frontend {
        marker: bool,
        value: Option<FrontendValue>,
    },
    Range {
        slot: u32,
        range: Option<Range>,
    },
    Identity {
        slot: u32,
        id: u32,
        affinity: u32,
    },
    Traits {
        slot: u32,
        flags: u32,
        tag: u32,
    },
    Backend {
        index: u32,
        id: Option<u32>,
    },
    Switches(Switches),
    Host(u64),
    Netns(u64),
    Random(u32),
    Now(u64),
    Cidr {
        index: u16,
        holds: bool,
    },
    OptedOut {
        netns: u64,
        is: bool,
    },
    /// After the loads of the judge.
    Judged {
        key: AffinityKey,
        known: Option<Affinity>,
        next: Option<Affinity>,
    },
    Remembered {
        key: AffinityKey,
        value: Affinity,
        done: bool,
    },
}

/// Everything that loads come from.
pub(crate) struct State {
    pub(crate) frontends: [Vec<(Destination, FrontendValue)>; 2],
    pub(crate) slots: Vec<Service>,
    pub(crate) backends: [Table; 2],
    pub(crate) cidrs: [[Cidr; 4]; 2],
    pub(crate) config: Config,
    pub(crate) host: u64,
    pub(crate) netns: u64,
    pub(crate) now: u64,
    pub(crate) random: u32,
    /// By element: a program that found one writes to it, whoever has it by then.
    pub(crate) affinity: Vec<Option<(AffinityKey, Affinity)>>,
    pub(crate) room: usize,
    pub(crate) asked: Destination,
    family: usize,
    tags: [u32; 2],
    asked_affinity: Option<AffinityKey>,
    changes: VecDeque<(u8, Change)>,
    log: Vec<Load>,
}

pub(crate) struct Machine(RefCell<State>);

impl Machine {
    pub(crate) fn new(world: &World) -> Self {
        let mut frontends = [Vec::new(), Vec::new()];
        for frontend in &world.frontends {
            let (family, at, tag) = if frontend.six {
                let at = V6::destination(&frontend.at);
                (1, at, tag::<V6>(&at))
            } else {
                let at = V4::destination(&frontend.at);
                (0, at, tag::<V4>(&at))
            };
            frontends[family].push((at, frontend.value.value(tag)));
        }
        Self(RefCell::new(State {
            frontends,
            slots: world.slots.iter().map(|slot| slot.service()).collect(),
            backends: [world.four.clone(), world.six.clone()],
            cidrs: world.cidrs,
            config: world.config,
            host: world.host.into(),
            netns: 0,
            now: 1 << 60,
            random: 0,
            affinity: Vec::new(),
            room: world.room.into(),
            asked: Destination { address: [0; 16], port: 0, protocol: 0 },
            family: 0,
            tags: [0; 2],
            asked_affinity: None,
            changes: VecDeque::new(),
            log: Vec::new(),
        }))
    }

    /// Prepares a selection, and says what it is asked for.
    pub(crate) fn start<F: Sample>(&self, request: &Request) -> Destination {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let frontends = &state.frontends[F::INDEX];
        let target = match request.to {
            Err(target) => F::destination(&target),
            Ok(_) => F::destination(&NOWHERE),
        };
        let listed =
            request.to.ok().and_then(|n| frontends.get(usize::from(n)).or(frontends.first()));
        let mut asked = listed.map_or(target, |(at, _)| *at);
        if asked.protocol != 17 {
            asked.protocol = 6;
        }
        state.asked = asked;
        state.family = F::INDEX;
        state.tags = [tag::<F>(&asked), tag::<F>(&asked.marker())];
        state.random = request.random.get();
        state.now = state.now.saturating_add(request.later);
        state.netns = request.netns.into();
        state.changes = request.changes.iter().cloned().collect();
        state.log.clear();
        asked
    }

    /// Whether a frontend is listed, with this slot and its own tag.
    pub(crate) fn has<F: Sample>(&self, at: &Destination, slot: u32) -> bool {
        let value = FrontendValue { slot, tag: tag::<F>(at) };
        let state = self.0.borrow();
        let mut listed = state.frontends[F::INDEX].iter();
        listed.find(|(key, _)| key == at).is_some_and(|(_, its)| *its == value)
    }

    /// Forgets the loads until now.
    pub(crate) fn forget_log(&self) {
        self.0.borrow_mut().log.clear();
    }

    /// Whether nothing changes during the selection.
    pub(crate) fn is_still(&self) -> bool {
        self.0.borrow().changes.is_empty()
    }

    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// What the selection has loaded.
    pub(crate) fn log(&self) -> Vec<Load> {
        self.0.borrow().log.clone()
    }

    /// The state for one load, after what changes before it.
    pub(crate) fn load(&self) -> RefMut<'_, State> {
        let mut state = self.0.borrow_mut();
        assert!(state.log.len() < ENDLESS, "a selection that does not end");
        while let Some((wait, _)) = state.changes.front_mut() {
            if let Some(less) = wait.checked_sub(1) {
                *wait = less;
                break;
            }
            let (_, change) = state.changes.pop_front().expect("there is one in front");
            state.change(&change);
        }
        state
    }

    pub(crate) fn change(&self, change: &Change) {
        self.0.borrow_mut().change(change);
    }
}

impl State {
    pub(crate) fn note(&mut self, load: Load) {
        if let Load::Judged { key, .. } | Load::Remembered { key, .. } = load {
            self.asked_affinity = Some(key);
        }
        self.log.push(load);
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Frontend { marker, value } => {
                let at = if *marker { self.asked.marker() } else { self.asked };
                let tag = self.tags[usize::from(*marker)];
                let frontends = &mut self.frontends[self.family];
                frontends.retain(|(key, _)| *key != at);
                frontends.extend(value.map(|value| (at, value.value(tag))));
            }
            Change::Slot { slot, to } => {
                if let Some(slot) = self.slots.get_mut(usize::from(*slot)) {
                    *slot = to.service();
                }
            }
            Change::Table { six, to } => self.backends[usize::from(*six)] = to.clone(),
            Change::Config(config) => self.config = *config,
            Change::Cidr { six, index, to } => {
                self.cidrs[usize::from(*six)][usize::from(index % 4)] = *to;
            }
            Change::Affinity { element, to } => self.give(usize::from(*element), *to),
            Change::Room(room) => self.room = usize::from(*room),
        }
    }

    /// Gives an element of the affinity table away.
    fn give(&mut self, element: usize, to: Option<Known>) {
        let entry = to.and_then(|known| {
            let key = match known.whose {
                Some((client, service)) => {
                    AffinityKey { client: client.into(), service: service.get(), reserved: 0 }
                }
                None => self.asked_affinity?,
            };
            let used = self.now.saturating_add_signed(-i64::from(known.idle) * SECOND);
            Some((key, Affinity { used, backend: known.backend.get(), hint: known.hint.get() }))
        });
        if let Some((key, _)) = entry {
            // A key has one element.
            let has =
                |place: &&mut Option<(AffinityKey, Affinity)>| place.is_some_and(|it| it.0 == key);
            if let Some(place) = self.affinity.iter_mut().find(has) {
                *place = None;
            }
        }
        if self.affinity.len() <= element {
            self.affinity.resize(element + 1, None);
        }
        self.affinity[element] = entry;
    }

    /// Which element a key has.
    pub(crate) fn element(&self, key: &AffinityKey) -> Option<usize> {
        self.affinity.iter().position(|place| place.is_some_and(|(owner, _)| owner == *key))
    }

    /// The entry of a slot, with the tag of who has it: who is asked for, or else the first.
    pub(crate) fn slot(&self, slot: u32) -> Option<Service> {
        let service = self.slots.get(usize::try_from(slot).ok()?).copied()?;
        let frontends = &self.frontends[self.family];
        let mut owners = frontends.iter().filter(|(_, value)| value.slot == slot);
        let owner = owners.clone().find(|(at, _)| *at == self.asked).or(owners.next());
        Some(Service { tag: owner.map_or(0, |(_, value)| value.tag), ..service })
    }
}

fn tag<F: Sample>(at: &Destination) -> u32 {
    F::tag(&F::key(at))
}
