//! How a selection sees a world: each load gets what is there at that moment, and is logged.

use lb_common::{
    Backend4, Backend6, Client, FrontendKey4, FrontendKey6, FrontendValue, Range, Switches, Tables,
    V4, V6,
    layout::{Affinity, AffinityKey, Cidr4, Cidr6},
};

use super::{
    family::{Destination, Sample},
    machine::{Load, Machine},
    spec::Cidr,
};

impl Machine {
    fn frontend_of<F: Sample>(&self, key: &F::Key) -> Option<FrontendValue> {
        let mut state = self.load();
        let at = F::of_key(key);
        let marker = at != state.asked;
        assert!(!marker || at == state.asked.marker(), "a key that nobody asked for: {at:?}");
        let found = state.frontends[F::INDEX].iter().find(|(key, _)| *key == at);
        let value = found.map(|(_, value)| *value);
        state.note(Load::Frontend { marker, value });
        value
    }

    fn backend_at<F: Sample>(&self, index: u32) -> Option<F::Backend> {
        let mut state = self.load();
        let id = state.backends[F::INDEX].id(index);
        state.note(Load::Backend { index, id });
        id.map(|id| F::backend(index, id))
    }

    fn range_of(&self, slot: u32) -> Option<Range> {
        let mut state = self.load();
        let range = state.slot(slot).map(|service| service.range);
        state.note(Load::Range { slot, range });
        range
    }

    fn identity_of(&self, slot: u32) -> (u32, u32) {
        let mut state = self.load();
        let (id, affinity) = state.slot(slot).map_or((0, 0), |it| (it.id, it.affinity));
        state.note(Load::Identity { slot, id, affinity });
        (id, affinity)
    }

    fn traits_of(&self, slot: u32) -> (u32, u32) {
        let mut state = self.load();
        let (flags, tag) = state.slot(slot).map_or((0, 0), |service| (service.flags, service.tag));
        state.note(Load::Traits { slot, flags, tag });
        (flags, tag)
    }

    fn cidr<F: Sample>(&self, index: u16) -> ([u8; 16], [u8; 16]) {
        let mut state = self.load();
        let none = ([0; 16], [255; 16]);
        let found = state.cidrs[F::INDEX].get(usize::from(index));
        let (prefix, mask) = found.map_or(none, |cidr| words::<F>(*cidr));
        let holds = holds(prefix, mask, &state.asked);
        state.note(Load::Cidr { index, holds });
        (prefix, mask)
    }
}

/// A prefix as the table has it: what is behind it is zero.
fn words<F: Sample>(cidr: Cidr) -> ([u8; 16], [u8; 16]) {
    let bits = u32::from(cidr.bits % (F::BITS + 1));
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    let prefix = u128::from_be_bytes(cidr.address.octets()) & mask;
    (prefix.to_be_bytes(), mask.to_be_bytes())
}

fn holds(prefix: [u8; 16], mask: [u8; 16], asked: &Destination) -> bool {
    (0..16).all(|at| asked.address[at] & mask[at] == prefix[at])
}

/// Whether a prefix holds what is asked for.
pub(crate) fn is_in<F: Sample>(cidr: Cidr, asked: &Destination) -> bool {
    let (prefix, mask) = words::<F>(cidr);
    holds(prefix, mask, asked)
}

macro_rules! tables {
    ($family:ty, $key:ty, $backend:ty) => {
        impl Tables<$family> for Machine {
            fn frontend(&self, key: &$key) -> Option<FrontendValue> {
                self.frontend_of::<$family>(key)
            }

            fn range(&self, slot: u32) -> Option<Range> {
                self.range_of(slot)
            }

            fn identity(&self, slot: u32) -> (u32, u32) {
                self.identity_of(slot)
            }

            fn traits(&self, slot: u32) -> (u32, u32) {
                self.traits_of(slot)
            }

            fn backend(&self, index: u32) -> Option<$backend> {
                self.backend_at::<$family>(index)
            }
        }
    };
}

tables!(V4, FrontendKey4, Backend4);
tables!(V6, FrontendKey6, Backend6);

impl Client for Machine {
    fn random(&self) -> u32 {
        let mut state = self.load();
        let random = state.random;
        state.note(Load::Random(random));
        random
    }

    fn netns(&self) -> u64 {
        let mut state = self.load();
        let netns = state.netns;
        state.note(Load::Netns(netns));
        netns
    }

    fn now(&self) -> u64 {
        let mut state = self.load();
        let now = state.now;
        state.note(Load::Now(now));
        now
    }

    fn switches(&self) -> Switches {
        let mut state = self.load();
        let switches = state.config.switches();
        state.note(Load::Switches(switches));
        switches
    }

    fn host(&self) -> u64 {
        let mut state = self.load();
        let host = state.host;
        state.note(Load::Host(host));
        host
    }

    fn cidr4(&self, index: u16) -> Cidr4 {
        let ([a, b, c, d, ..], [e, f, g, h, ..]) = self.cidr::<V4>(index);
        Cidr4 { address: [a, b, c, d], mask: [e, f, g, h] }
    }

    fn cidr6(&self, index: u16) -> Cidr6 {
        let (address, mask) = self.cidr::<V6>(index);
        Cidr6 { address, mask }
    }

    /// Left alone before anything is loaded, so that no world differs by it.
    fn is_the_agents(&self) -> bool {
        false
    }

    fn is_opted_out(&self, netns: u64) -> bool {
        let mut state = self.load();
        let is = state.config.opted_out;
        state.note(Load::OptedOut { netns, is });
        is
    }

    fn judge_affinity(
        &self,
        key: &AffinityKey,
        judge: impl FnOnce(Affinity) -> Option<Affinity>,
    ) -> Option<()> {
        let (element, known) = {
            let mut state = self.load();
            let found = state.element(key).and_then(|at| Some((at, state.affinity[at]?.1)));
            let Some(found) = found else {
                state.note(Load::Judged { key: *key, known: None, next: None });
                return None;
            };
            found
        };
        let next = judge(known);
        let mut state = self.load();
        state.note(Load::Judged { key: *key, known: Some(known), next });
        // Whoever has the element by now.
        if let (Some(next), Some((_, value))) = (next, &mut state.affinity[element]) {
            *value = next;
        }
        Some(())
    }

    fn remember(&self, key: &AffinityKey, value: &Affinity) -> bool {
        let mut state = self.load();
        let used = state.affinity.iter().flatten().count();
        let done = state.element(key).is_none() && used < state.room;
        state.note(Load::Remembered { key: *key, value: *value, done });
        if done {
            match state.affinity.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some((*key, *value)),
                None => state.affinity.push(Some((*key, *value))),
            }
        }
        done
    }
}
