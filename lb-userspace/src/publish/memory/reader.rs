//! What a connect finds in the tables: the way that the BPF programs go.
//!
//! Must never decide: that is [`lb_common::select`].

use lb_common::{
    Client, FrontendValue, Range, Selected, Selection, Switches, Tables, V4, V6,
    layout::{Affinity, AffinityKey, Cidr4, Cidr6},
};

use super::Memory;
use crate::{
    model::FrontendKey,
    plan::placement::Backend,
    publish::{Family, Wire},
};

impl Memory {
    /// What a connect finds.
    pub fn select(&self, key: &FrontendKey) -> Selection<Backend> {
        match Family::of(&key.address) {
            Family::V4 => self.select_in::<V4>(key),
            Family::V6 => self.select_in::<V6>(key),
        }
    }

    fn select_in<F: Wire>(&self, key: &FrontendKey) -> Selection<Backend>
    where
        Self: Tables<F>,
    {
        match lb_common::select(self, self, &F::key(key), None) {
            Selection::Backend(Selected { backend, slot, service, position }) => {
                let backend = F::read(&backend);
                Selection::Backend(Selected { backend, slot, service, position })
            }
            Selection::NotAFrontend => Selection::NotAFrontend,
            Selection::NoBackend => Selection::NoBackend,
            Selection::Unserved => Selection::Unserved,
            Selection::Unsettled => Selection::Unsettled,
            Selection::Corrupt => Selection::Corrupt,
        }
    }
}

macro_rules! tables {
    ($family:ident, $half:ident) => {
        impl Tables<$family> for Memory {
            fn frontend(&self, key: &<$family as lb_common::Family>::Key) -> Option<FrontendValue> {
                self.$half.frontends.get(key).copied()
            }

            fn range(&self, slot: u32) -> Option<Range> {
                self.services.get(slot as usize).map(|service| service.range)
            }

            fn identity(&self, slot: u32) -> (u32, u32) {
                let service = &self.services[slot as usize];
                (service.id, service.affinity)
            }

            fn traits(&self, slot: u32) -> (u32, u32) {
                let service = &self.services[slot as usize];
                (service.flags, service.tag)
            }

            fn backend(&self, index: u32) -> Option<<$family as lb_common::Family>::Backend> {
                self.$half.backends.get(index as usize).copied().flatten()
            }
        }
    };
}

tables!(V4, v4);
tables!(V6, v6);

impl Client for Memory {
    /// Not random: walks through all residues, so that a test meets every backend.
    fn random(&self) -> u32 {
        self.random.replace(self.random.get().wrapping_add(0x9e37_79b9))
    }

    fn netns(&self) -> u64 {
        7
    }

    fn now(&self) -> u64 {
        self.now.get() * 1_000_000_000
    }

    fn switches(&self) -> Switches {
        let counts = Switches { cidr_count4: 1, cidr_count6: 1, ..Switches::default() };
        Switches { refuse: self.refuse_unserved, ..counts }
    }

    fn host(&self) -> u64 {
        1
    }

    fn cidr4(&self, _index: u16) -> Cidr4 {
        Cidr4 { address: [10, 96, 0, 0], mask: [255, 255, 0, 0] }
    }

    fn cidr6(&self, _index: u16) -> Cidr6 {
        let first = |byte| std::array::from_fn(|index| if index < 2 { byte } else { 0 });
        Cidr6 { address: (0xfd00_u128 << 112).to_be_bytes(), mask: first(0xff) }
    }

    fn is_the_agents(&self) -> bool {
        false
    }

    fn is_opted_out(&self, _netns: u64) -> bool {
        false
    }

    fn judge_affinity(
        &self,
        key: &AffinityKey,
        judge: impl FnOnce(Affinity) -> Option<Affinity>,
    ) -> Option<()> {
        let known = *self.affinity.borrow().get(key)?;
        if let Some(next) = judge(known) {
            self.affinity.borrow_mut().insert(*key, next);
        }
        Some(())
    }

    fn remember(&self, key: &AffinityKey, value: &Affinity) -> bool {
        self.affinity.borrow_mut().insert(*key, *value).is_none()
    }
}
