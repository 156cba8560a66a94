//! The loads of a selection, by kind. A load that no selection may make, such as of another slot, is a
//! panic.

use lb_common::{
    FrontendValue, Range, Switches,
    layout::{Affinity, HOST_ONLY},
};

use super::{family::Sample, machine::Load};

/// The loads of a selection, by kind.
pub(super) struct Seen<'a>(pub(super) &'a [Load]);

impl Seen<'_> {
    fn all<T>(&self, of: impl Fn(&Load) -> Option<T>) -> Vec<T> {
        self.0.iter().filter_map(of).collect()
    }

    pub(super) fn values(&self) -> Vec<Option<FrontendValue>> {
        self.all(|load| match load {
            Load::Frontend { marker: false, value } => Some(*value),
            _ => None,
        })
    }

    pub(super) fn range(&self, of: u32) -> Option<Range> {
        let ranges = self.all(|load| match load {
            Load::Range { slot, range } => Some((*slot, *range)),
            _ => None,
        });
        assert!(ranges.len() == 1 && ranges[0].0 == of, "another slot's range");
        ranges[0].1
    }

    pub(super) fn identity(&self, of: u32) -> (u32, u32) {
        let identities = self.all(|load| match load {
            Load::Identity { slot, id, affinity } => Some((*slot, *id, *affinity)),
            _ => None,
        });
        assert!(identities.len() == 1 && identities[0].0 == of, "another slot's identity");
        (identities[0].1, identities[0].2)
    }

    pub(super) fn traits(&self, of: u32) -> (u32, u32) {
        let traits = self.all(|load| match load {
            Load::Traits { slot, flags, tag } => Some((*slot, *flags, *tag)),
            _ => None,
        });
        assert!(traits.len() == 1 && traits[0].0 == of, "another slot's traits");
        (traits[0].1, traits[0].2)
    }

    /// Positions in the range, and ids. Panics if anything outside of the range was loaded.
    pub(super) fn backends(&self, range: Range) -> Vec<(u32, Option<u32>)> {
        let backends = self.all(|load| match load {
            Load::Backend { index, id } => Some((index.wrapping_sub(range.first), *id)),
            _ => None,
        });
        assert!(backends.iter().all(|(at, _)| *at < range.count), "loaded outside of {range:?}");
        backends
    }

    /// The backends that were looked at because another connect of the client was faster.
    pub(super) fn met_after_remembering(&self, range: Range) -> Vec<(u32, Option<u32>)> {
        let at = self.0.iter().position(|load| matches!(load, Load::Remembered { .. }));
        let mut met = Seen(&self.0[at.unwrap_or(0)..]).backends(range);
        met.pop();
        met
    }

    pub(super) fn switches(&self) -> Vec<Switches> {
        self.all(|load| match load {
            Load::Switches(switches) => Some(*switches),
            _ => None,
        })
    }

    pub(super) fn random(&self) -> Option<u32> {
        let random = self.all(|load| if let Load::Random(it) = load { Some(*it) } else { None });
        random.first().copied()
    }

    pub(super) fn now(&self) -> u64 {
        let now = self.all(|load| if let Load::Now(it) = load { Some(*it) } else { None });
        *now.first().expect("the time was asked for")
    }

    pub(super) fn judged(&self) -> Vec<(Option<Affinity>, Option<Affinity>)> {
        let netns = self.netns();
        let services = self.all(|load| match load {
            Load::Identity { id, .. } => Some(*id),
            _ => None,
        });
        self.all(|load| match load {
            Load::Judged { key, known, next } => {
                assert!(key.reserved == 0 && Some(key.client) == netns, "another client's");
                assert!(services == [key.service], "another Service's");
                Some((*known, *next))
            }
            _ => None,
        })
    }

    pub(super) fn remembered(&self) -> Option<(Affinity, bool)> {
        let remembered = self.all(|load| match load {
            Load::Remembered { value, done, .. } => Some((*value, *done)),
            _ => None,
        });
        remembered.first().copied()
    }

    fn netns(&self) -> Option<u64> {
        self.all(|load| if let Load::Netns(it) = load { Some(*it) } else { None }).first().copied()
    }

    /// Whether the client may see a frontend, by what was asked about it.
    pub(super) fn is_for(&self, switches: Switches, flags: u32) -> bool {
        if switches.host_scope || flags & HOST_ONLY != 0 {
            let host = self.all(|load| if let Load::Host(it) = load { Some(*it) } else { None });
            assert!(host.len() == 1, "nobody asked who the host is");
            if self.netns() != Some(host[0]) {
                return false;
            }
        }
        let out = self.all(|load| match load {
            Load::OptedOut { netns, is } => Some((Some(*netns), *is)),
            _ => None,
        });
        assert!(out.len() == usize::from(switches.opt_outs), "asked who is opted out, or did not");
        out.iter().all(|(netns, is)| *netns == self.netns() && !is)
    }

    /// Whether what was loaded says that nobody has the address, though only Services may.
    pub(super) fn refuses<F: Sample>(&self) -> bool {
        let switches = self.switches();
        let cidrs = self.all(|load| match load {
            Load::Cidr { index, holds } => Some((*index, *holds)),
            _ => None,
        });
        let marker = self.all(|load| match load {
            Load::Frontend { marker: true, value } => Some(*value),
            _ => None,
        });
        let [first, second, third] = switches[..] else {
            assert!(marker.is_empty() && !cidrs.iter().any(|(_, holds)| *holds));
            return false;
        };
        let count = if F::INDEX == 0 { second.cidr_count4 } else { second.cidr_count6 };
        assert!(cidrs.iter().all(|(index, _)| *index < count), "a CIDR that is not in use");
        first.refuse
            && cidrs.iter().any(|(_, holds)| *holds)
            && self.is_for(third, 0)
            && marker == [None]
    }
}
