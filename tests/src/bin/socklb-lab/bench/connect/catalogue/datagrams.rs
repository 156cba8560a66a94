//! UDP: connects, datagrams sent to and received from Services and others.

use lab::{
    family::{Dual, Family},
    socket::Socket,
};

use super::{Catalogue, calls, hook};
use crate::bench::connect::{
    case::Kind,
    site::{DEAD_ENDS, Site, UNROUTED, vip},
};

impl Catalogue {
    pub(super) fn datagrams(&mut self, family: Family) {
        self.udp_connects(family);
        self.sends_alone(family);
        self.sends(family);
        self.receives(family);
    }

    /// Whole calls: a UDP connect sends nothing, so it is also the program with hardly anything in
    /// between.
    fn udp_connects(&mut self, family: Family) {
        let (hook, name) = hook("connect", family);
        let name = |what: &str| format!("{name}-udp{what}");
        let (pod, kind) = (self.pod, Kind::Quick);
        let direct =
            self.direct(name("-direct"), kind, move |_| Ok(calls::udp_connect(family, pod)));
        let sites = self.all_sizes(family);
        self.compared(name(""), &direct, hook, &sites, kind, move |site| {
            Ok(calls::udp_connect(family, vip(site.frontends / 2)))
        });
        self.compared(name("-affinity"), &direct, hook, &sites, kind, move |site| {
            Ok(calls::udp_connect(family, site.sticky()))
        });
        self.compared(name("-miss"), &direct, hook, &sites, kind, move |_| {
            Ok(calls::udp_connect(family, pod))
        });
        let direct = self
            .direct(name("-again-direct"), kind, move |_| calls::udp_connect_again(family, pod));
        self.compared(name("-again"), &direct, hook, &self.most(), kind, move |site| {
            calls::udp_connect_again(family, vip(site.frontends / 2))
        });
    }

    /// The sendmsg programs, with nothing in between.
    fn sends_alone(&mut self, family: Family) {
        let (hook, name) = hook("sendmsg", family);
        let name = |what: &str| format!("{name}-{what}");
        let (sites, ends, most) = (self.all_sizes(family), self.ends(family), self.most());
        self.programs(name("udp-steady"), hook, &sites, move |site| {
            calls::unrouted_send(family, vec![site.dead_end(0)], &[])
        });
        self.programs(name("udp-sixteen"), hook, &most, move |site| {
            calls::unrouted_send(family, dead_ends(site), &[])
        });
        self.programs(name("udp-first"), hook, &ends, move |site| {
            Ok(calls::unrouted_first_send(family, site.dead_end(0)))
        });
        self.programs(name("miss"), hook, &sites, move |_| {
            calls::unrouted_send(family, vec![UNROUTED], &[])
        });
        // By a socket that also talks to Services.
        self.programs(name("miss-of-sixteen"), hook, &most, move |site| {
            calls::unrouted_send(family, vec![UNROUTED], &dead_ends(site))
        });
    }

    /// Whole calls of `sendto()`, and of `send()` where the hook fires for that too.
    fn sends(&mut self, family: Family) {
        let (hook, _) = hook("sendmsg", family);
        let name = |what: &str| format!("{}-{what}", call_name("sendto", family));
        let (pod, kind) = (self.pod, Kind::Quick);
        let to_pod = move |_: &Site| calls::send(family, pod);
        let direct = self.direct(name("detached"), kind, to_pod);
        let (ends, most) = (self.ends(family), self.most());
        self.compared(name("attached-miss"), &direct, hook, &ends, kind, to_pod);
        self.compared(name("service"), &direct, hook, &ends, kind, move |site| {
            calls::send(family, vip(site.frontends / 2))
        });
        let first = move |_: &Site| Ok(calls::first_send(family, pod));
        let direct = self.direct(name("first-detached"), kind, first);
        self.compared(name("first-attached-miss"), &direct, hook, &most, kind, first);
        self.compared(name("first-service"), &direct, hook, &most, kind, move |site| {
            Ok(calls::first_send(family, vip(site.frontends / 2)))
        });
        if family == Family::Mapped {
            let to_pod = move |_: &Site| calls::connected_send(family, pod);
            let direct = self.direct("send-mapped-detached".to_owned(), kind, to_pod);
            let name = |what: &str| format!("send-mapped-{what}");
            self.compared(name("attached-miss"), &direct, hook, &most, kind, to_pod);
            self.compared(name("service"), &direct, hook, &most, kind, move |site| {
                calls::connected_send(family, vip(site.frontends / 2))
            });
        }
    }

    /// `recvfrom()`: with datagrams that only are looked at, the program alone; else whole calls.
    fn receives(&mut self, family: Family) {
        let (hook, alone) = hook("recvmsg", family);
        let whole = call_name("recvfrom", family);
        let (pod, kind, sender) = (self.pod, Kind::Quick, self.sender.clone());
        let call = move |talks_to: Vec<Dual>, source: Dual, stay: bool| {
            let socket = Socket::udp(family)?;
            for to in talks_to {
                // Those that lead nowhere are remembered all the same.
                let _ = socket.send_to(b"some question", to.seen_by(family));
            }
            calls::receive(family, socket, &sender, source, stay)
        };
        let to_service = {
            let call = call.clone();
            move |site: &Site, stay| {
                let vip = vip(site.frontends / 2);
                call(vec![vip], vip, stay)
            }
        };
        let to_pod = {
            let call = call.clone();
            move |_: &Site, stay| call(vec![pod], pod, stay)
        };
        let sites = self.ends(family);
        {
            let (to_service, to_pod) = (to_service.clone(), to_pod.clone());
            self.programs(format!("{alone}-udp"), hook, &sites, move |site| to_service(site, true));
            self.programs(format!("{alone}-miss"), hook, &sites, move |site| to_pod(site, true));
        }
        let most = self.most();
        self.programs(format!("{alone}-miss-of-sixteen"), hook, &most, move |site| {
            call(dead_ends(site).into_iter().chain([pod]).collect(), pod, true)
        });
        let sender = self.sender.clone();
        self.programs(format!("{alone}-udp-connected"), hook, &most, move |site| {
            let (socket, vip) = (Socket::udp(family)?, vip(site.frontends / 2));
            socket.connect(vip.seen_by(family))?;
            calls::receive(family, socket, &sender, vip, true)
        });
        let direct = {
            let to_pod = to_pod.clone();
            self.direct(format!("{whole}-detached"), kind, move |site| to_pod(site, false))
        };
        let name = format!("{whole}-attached-miss");
        self.compared(name, &direct, hook, &sites, kind, move |site| to_pod(site, false));
        let name = format!("{whole}-service");
        self.compared(name, &direct, hook, &sites, kind, move |site| to_service(site, false));
    }
}

/// How the names of whole calls begin.
fn call_name(call: &str, family: Family) -> String {
    match family {
        Family::V4 => call.to_owned(),
        Family::V6 => format!("{call}6"),
        Family::Mapped => format!("{call}-mapped"),
    }
}

fn dead_ends(site: &Site) -> Vec<Dual> {
    (0..DEAD_ENDS).map(|number| site.dead_end(number)).collect()
}
