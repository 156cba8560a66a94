//! All cases, by name.
//!
//! A name says the hook, the family if it is not the hook's (`mapped`: IPv4 on an AF_INET6 socket),
//! the protocol and what is special. Nothing here may call anything.

mod datagrams;
mod streams;

use std::{net::SocketAddr, rc::Rc};

use anyhow::Result;
use lab::{
    Lab,
    family::{Dual, Family},
    pod::Pod,
    socket::Socket,
};
use lb_userspace::dataplane::hooks::HOOKS;

use super::{
    PORT, calls,
    case::{Call, Case, Kind, Start},
    sender::Sender,
    site::{Site, vip},
};

/// Where node ports begin, and nothing listens in the lab.
const FREE_PORT: u16 = 30_000;

/// The sites, and the cases so far.
struct Catalogue {
    pod: Dual,
    sender: Rc<Sender>,
    bare: Rc<Site>,
    /// 10, 10,000 and 100,000 frontends.
    sizes: [Rc<Site>; 3],
    /// The same, without anything that TCP sockets remember.
    nopeername: [Rc<Site>; 3],
    cases: Vec<Case>,
}

/// Every case. Those that others are compared with come before them.
pub(super) fn all(lab: &Lab, pod: &Pod) -> Result<Vec<Case>> {
    let address = pod.dual(PORT);
    let site = |frontends, peername| Site::new(lab, frontends, address, peername).map(Rc::new);
    let sizes = |peername| {
        anyhow::Ok([site(10, peername)?, site(10_000, peername)?, site(100_000, peername)?])
    };
    let mut catalogue = Catalogue {
        pod: address,
        sender: Rc::new(Sender::new(pod, PORT, lab.has_ipv6())?),
        bare: Rc::new(Site::bare(lab)?),
        sizes: sizes(true)?,
        nopeername: sizes(false)?,
        cases: Vec::new(),
    };
    catalogue.floor();
    for &family in lab.families()? {
        catalogue.streams(family);
        catalogue.datagrams(family);
        catalogue.others(family);
    }
    Ok(catalogue.cases)
}

impl Catalogue {
    /// The cost of the kernel's statistics and of an empty program: getpeername4 returns at once for
    /// TCP sockets that are shown the truth.
    fn floor(&mut self) {
        let sites = [self.nopeername[0].clone()];
        let pod = self.pod;
        self.programs("floor".to_owned(), "getpeername4", &sites, move |_| {
            let socket = Socket::tcp(Family::V4)?;
            socket.connect(pod.v4)?;
            Ok(calls::peer(socket))
        });
    }

    /// getpeername and post_bind.
    fn others(&mut self, family: Family) {
        let (hook, name) = hook("getpeername", family);
        let pod = self.pod;
        let connected = move |to: Dual| {
            let socket = Socket::udp(family)?;
            socket.connect(to.seen_by(family))?;
            Ok(calls::peer(socket))
        };
        let direct = self.direct(format!("{name}-direct"), Kind::Quick, move |_| connected(pod));
        let sites = self.ends(family);
        self.compared(name.clone(), &direct, hook, &sites, Kind::Quick, move |site| {
            connected(vip(site.frontends / 2))
        });
        self.compared(format!("{name}-miss"), &direct, hook, &sites, Kind::Quick, move |_| {
            connected(pod)
        });
        let (hook, here): (_, SocketAddr) = match family {
            Family::V4 => ("post_bind4", ([127, 0, 0, 1], FREE_PORT).into()),
            Family::V6 => ("post_bind6", ([0, 0, 0, 0, 0, 0, 0, 1], FREE_PORT).into()),
            Family::Mapped => return,
        };
        let call = move |_: &Site| Ok(calls::bind(family, here));
        let direct = self.direct(format!("{hook}-direct"), Kind::Quick, call);
        let sites = self.ends(family);
        self.compared(hook.to_owned(), &direct, hook, &sites, Kind::Quick, call);
    }

    /// The sites by which one sees that the number of frontends does not matter: all of them, but for
    /// mapped sockets, which read IPv4's tables.
    fn all_sizes(&self, family: Family) -> Vec<Rc<Site>> {
        of_family(&self.sizes, family)
    }

    /// The same for cases that read no table.
    fn ends(&self, family: Family) -> Vec<Rc<Site>> {
        let [few, _, most] = &self.sizes;
        if family == Family::V4 { vec![few.clone(), most.clone()] } else { vec![most.clone()] }
    }

    /// The site with the most frontends.
    fn most(&self) -> Vec<Rc<Site>> {
        let [.., most] = &self.sizes;
        vec![most.clone()]
    }

    /// A case without programs. Returns its name.
    fn direct(
        &mut self,
        name: String,
        kind: Kind,
        start: impl Fn(&Site) -> Result<Call> + 'static,
    ) -> String {
        let start: Start = Rc::new(start);
        let direct = Some(name.clone());
        self.cases.push(Case::new(name.clone(), direct, &self.bare, "connect4", kind, &start));
        name
    }

    /// A case that is compared with a direct one, at each of these sites.
    fn compared(
        &mut self,
        name: String,
        direct: &str,
        hook: &'static str,
        sites: &[Rc<Site>],
        kind: Kind,
        start: impl Fn(&Site) -> Result<Call> + 'static,
    ) {
        let start: Start = Rc::new(start);
        self.cases.extend(sites.iter().map(|site| {
            Case::new(name.clone(), Some(direct.to_owned()), site, hook, kind, &start)
        }));
    }

    /// A case of which only the program's time means anything, at each of these sites.
    fn programs(
        &mut self,
        name: String,
        hook: &'static str,
        sites: &[Rc<Site>],
        start: impl Fn(&Site) -> Result<Call> + 'static,
    ) {
        let start: Start = Rc::new(start);
        self.cases.extend(
            sites
                .iter()
                .map(|site| Case::new(name.clone(), None, site, hook, Kind::ProgramOnly, &start)),
        );
    }
}

fn of_family(sites: &[Rc<Site>; 3], family: Family) -> Vec<Rc<Site>> {
    let [.., most] = sites;
    if family == Family::Mapped { vec![most.clone()] } else { sites.to_vec() }
}

/// The hook that fires for a call on such a socket, and how the names of its cases begin.
fn hook(call: &str, family: Family) -> (&'static str, String) {
    // The kernel hands datagrams to IPv4 over to IPv4's own code.
    let version = match family {
        Family::V4 => 4,
        Family::Mapped if call == "sendmsg" => 4,
        Family::V6 | Family::Mapped => 6,
    };
    let wanted = format!("{call}{version}");
    let hook = HOOKS.iter().find(|hook| hook.name == wanted).expect("each call has its hooks");
    let mapped = if family == Family::Mapped { "-mapped" } else { "" };
    (hook.name, format!("{wanted}{mapped}"))
}
