//! TCP: connections to the Pod, and connects that end behind the program.

use lab::family::{Dual, Family};

use super::{Catalogue, calls, calls::Next, hook, of_family};
use crate::bench::connect::{
    case::Kind,
    site::{UNROUTED, vip},
};

impl Catalogue {
    pub(super) fn streams(&mut self, family: Family) {
        self.connections(family);
        self.programs_alone(family);
    }

    /// Whole calls, with a handshake each.
    fn connections(&mut self, family: Family) {
        let (hook, name) = hook("connect", family);
        let name = format!("{name}-tcp");
        let (pod, kind) = (self.pod, Kind::Connection);
        let to_pod = move |_: &_| Ok(calls::connection(family, always(pod)));
        let direct = self.direct(format!("{name}-direct"), kind, to_pod);
        let sites = self.all_sizes(family);
        self.compared(name.clone(), &direct, hook, &sites, kind, move |site| {
            let frontends = site.frontends;
            let any = Box::new(move |rng: &mut fastrand::Rng| vip(rng.u32(..frontends)));
            Ok(calls::connection(family, any))
        });
        if family != Family::V4 {
            return;
        }
        self.compared(format!("{name}-same"), &direct, hook, &sites, kind, move |site| {
            Ok(calls::connection(family, always(vip(site.frontends / 2))))
        });
        let [.., nopeername] = self.nopeername.clone();
        let name_of = format!("{name}-nopeername");
        self.compared(name_of, &direct, hook, &[nopeername], kind, move |site| {
            Ok(calls::connection(family, always(vip(site.frontends / 2))))
        });
        let sites = self.ends(family);
        self.compared(format!("{name}-miss"), &direct, hook, &sites, kind, to_pod);
    }

    /// The program, with nothing in between.
    fn programs_alone(&mut self, family: Family) {
        let (hook, name) = hook("connect", family);
        let name = |what: &str| format!("{name}-tcp{what}-loop");
        let sites = self.all_sizes(family);
        self.programs(name(""), hook, &sites, move |site| {
            Ok(calls::unrouted_connect(family, site.dead_end(0)))
        });
        self.programs(name("-affinity"), hook, &sites, move |site| {
            Ok(calls::unrouted_connect(family, site.sticky()))
        });
        self.programs(name("-miss"), hook, &sites, move |_| {
            Ok(calls::unrouted_connect(family, UNROUTED))
        });
        let nopeername = of_family(&self.nopeername, family);
        self.programs(name("-nopeername"), hook, &nopeername, move |site| {
            Ok(calls::unrouted_connect(family, site.dead_end(0)))
        });
        self.programs(name("-again"), hook, &self.most(), move |site| {
            calls::unrouted_connect_again(family, site.dead_end(0))
        });
    }
}

/// The same address each time.
fn always(to: Dual) -> Next {
    Box::new(move |_| to)
}
