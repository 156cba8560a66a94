//! All cases, by name.
//!
//! A name says the hook, the family if it is not the hook's (`mapped`: IPv4 on an AF_INET6 socket),
//! the protocol, and what is special. Whole calls on UDP sockets are named after the call. No two
//! cases may have the same name: they are compared by it.

use std::rc::Rc;

use anyhow::Result;
use lab::{
    Lab,
    family::Family::{self, Mapped, V4, V6},
    pod::Pod,
};
use lb_userspace::dataplane::hooks::HOOKS;

use self::At::{All, Bare, Ends, Most, NoPeername, NoPeernameFew, NoPeernameMost, Untold};
use super::{
    PORT,
    act::{Act, Work},
    case::Case,
    sender::Sender,
    site::{Shown, Site, To},
};

/// Every case. Those that others are compared with come before them.
pub(super) fn all(lab: &Lab, pod: &Pod) -> Result<Vec<Case>> {
    let sites = Sites::new(lab, pod)?;
    let sender = Rc::new(Sender::new(pod, PORT, lab.has_ipv6())?);
    let mut cases = Vec::new();
    for &family in lab.families()? {
        let mut group = |call, name: &str, add: fn(&mut Group<'_>)| {
            let (hook, name) = (hook(call, family), name.to_owned());
            let (sites, sender, cases) = (&sites, &sender, &mut cases);
            add(&mut Group { name, hook, family, sites, sender, direct: None, cases });
        };
        let mapped = if family == Mapped { "-mapped" } else { "" };
        let hooked = |call| format!("{}{mapped}", hook(call, family));
        let six = if family == V6 { "6" } else { "" };
        let whole = |call| format!("{call}{six}{mapped}");
        if family == V4 {
            group("getpeername", "floor", floor);
        }
        group("connect", &format!("{}-tcp", hooked("connect")), connect_tcp);
        group("connect", &format!("{}-udp", hooked("connect")), connect_udp);
        group("sendmsg", &hooked("sendmsg"), sendmsg);
        group("sendmsg", &whole("sendto"), sendto);
        group("recvmsg", &hooked("recvmsg"), recvmsg);
        group("recvmsg", &whole("recvfrom"), recvfrom);
        group("getpeername", &hooked("getpeername"), getpeername);
        match family {
            V4 | V6 => group("post_bind", &hooked("post_bind"), post_bind),
            Mapped => group("sendmsg", &whole("send"), send),
        }
    }
    Ok(cases)
}

/// The hook that fires for a call on such a socket.
fn hook(call: &str, family: Family) -> &'static str {
    let version = match family {
        V4 => 4,
        // The kernel hands datagrams to IPv4 over to IPv4's own code.
        Mapped if call == "sendmsg" => 4,
        V6 | Mapped => 6,
    };
    let name = format!("{call}{version}");
    HOOKS.iter().find(|hook| hook.name == name).expect("each call has its hooks").name
}

/// The cost of the kernel's statistics, and of an empty program: getpeername4 returns at once for TCP
/// sockets that are shown the truth.
fn floor(group: &mut Group<'_>) {
    group.add("", NoPeernameFew, Act::TcpPeerName, To::Pod);
}

fn connect_tcp(group: &mut Group<'_>) {
    group.add("-direct", Bare, Act::TcpConnection, To::Pod);
    group.add("", All, Act::TcpConnection, To::Any);
    if group.family == V4 {
        group.add("-same", All, Act::TcpConnection, To::Service);
        group.add("-nopeername", NoPeernameMost, Act::TcpConnection, To::Service);
        group.add("-miss", Ends, Act::TcpConnection, To::Pod);
    }
    group.add("-loop", All, Act::TcpConnect, To::DeadEnd);
    group.add("-affinity-loop", All, Act::TcpConnect, To::Sticky);
    group.add("-nopeername-loop", NoPeername, Act::TcpConnect, To::DeadEnd);
    group.add("-miss-loop", All, Act::TcpConnect, To::Unrouted);
    group.add("-again-loop", Most, Act::TcpReconnect, To::DeadEnd);
    group.add("-miss-again-loop", Most, Act::TcpReconnect, To::Unrouted);
}

/// A UDP connect sends nothing, so the whole call is also the program with hardly anything between.
fn connect_udp(group: &mut Group<'_>) {
    group.add("-direct", Bare, Act::UdpConnect, To::Pod);
    group.add("", All, Act::UdpConnect, To::Service);
    group.add("-affinity", All, Act::UdpConnect, To::Sticky);
    group.add("-miss", All, Act::UdpConnect, To::Pod);
    group.add("-nopeername", Untold, Act::UdpConnect, To::Service);
    group.add("-again-direct", Bare, Act::UdpReconnect, To::Pod);
    group.add("-again", Most, Act::UdpReconnect, To::Service);
}

fn sendmsg(group: &mut Group<'_>) {
    group.add("-udp-steady", All, Act::SendTo, To::DeadEnd);
    group.add("-udp-sixteen", Most, Act::SendToSixteen, To::DeadEnd);
    group.add("-udp-steady-nopeername", Untold, Act::SendTo, To::DeadEnd);
    group.add("-udp-first", Ends, Act::FirstSendTo, To::DeadEnd);
    group.add("-udp-affinity-steady", Most, Act::SendTo, To::Sticky);
    group.add("-udp-affinity-first", Most, Act::FirstSendTo, To::Sticky);
    group.add("-miss", All, Act::SendTo, To::Unrouted);
    group.add("-miss-after-sixteen", Most, Act::SendToAfterSixteen, To::Unrouted);
}

fn sendto(group: &mut Group<'_>) {
    group.add("-detached", Bare, Act::SendTo, To::Pod);
    group.add("-attached-miss", Ends, Act::SendTo, To::Pod);
    group.add("-service", Ends, Act::SendTo, To::Service);
    group.add("-first-detached", Bare, Act::FirstSendTo, To::Pod);
    group.add("-first-attached-miss", Most, Act::FirstSendTo, To::Pod);
    group.add("-first-service", Most, Act::FirstSendTo, To::Service);
}

/// The hook fires for `send()` too if the socket is an AF_INET6 one with an IPv4 peer.
fn send(group: &mut Group<'_>) {
    group.add("-detached", Bare, Act::Send, To::Pod);
    group.add("-attached-miss", Most, Act::Send, To::Pod);
    group.add("-service", Most, Act::Send, To::Service);
}

fn recvmsg(group: &mut Group<'_>) {
    group.add("-udp", Ends, Act::Peek, To::Service);
    group.add("-udp-connected", Most, Act::PeekConnected, To::Service);
    group.add("-miss", Ends, Act::Peek, To::Pod);
    group.add("-miss-after-sixteen", Most, Act::PeekAfterSixteen, To::Pod);
}

fn recvfrom(group: &mut Group<'_>) {
    group.add("-detached", Bare, Act::ReceiveFrom, To::Pod);
    group.add("-attached-miss", Ends, Act::ReceiveFrom, To::Pod);
    group.add("-service", Ends, Act::ReceiveFrom, To::Service);
    group.add("-service-nopeername", Untold, Act::ReceiveFrom, To::Service);
}

fn getpeername(group: &mut Group<'_>) {
    group.add("-direct", Bare, Act::PeerName, To::Pod);
    group.add("", Ends, Act::PeerName, To::Service);
    group.add("-miss", Ends, Act::PeerName, To::Pod);
    group.add("-nopeername", Untold, Act::PeerName, To::Service);
}

fn post_bind(group: &mut Group<'_>) {
    group.add("-direct", Bare, Act::Bind, To::Pod);
    group.add("", Ends, Act::Bind, To::Pod);
}

/// Cases of one hook whose names begin alike.
struct Group<'a> {
    name: String,
    hook: &'static str,
    family: Family,
    sites: &'a Sites,
    sender: &'a Rc<Sender>,
    /// What whole calls are compared with: the last case without programs.
    direct: Option<String>,
    cases: &'a mut Vec<Case>,
}

impl Group<'_> {
    /// Adds a case at each of these sites.
    fn add(&mut self, suffix: &str, at: At, act: Act, to: To) {
        let work = Work { act, family: self.family, to };
        let name = format!("{}{suffix}", self.name);
        if at == Bare {
            self.direct = Some(name.clone());
        }
        for site in self.sites.at(at, self.family) {
            let direct = self.direct.clone().filter(|_| work.is_whole());
            self.cases.push(Case::new(name.clone(), direct, site, self.hook, work, self.sender));
        }
    }
}

/// Where cases are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Without programs.
    Bare,
    /// With few, many and most frontends. Mapped sockets read IPv4's tables: most are enough.
    All,
    /// With few and most, for what hardly depends on them; in IPv6 with most.
    Ends,
    /// With most.
    Most,
    /// As all, without anything that TCP sockets remember.
    NoPeername,
    /// With few, likewise.
    NoPeernameFew,
    /// With most, likewise.
    NoPeernameMost,
    /// With most, and no program that shows any socket the Service's address.
    Untold,
}

/// One site for each number of frontends, with and without anything that TCP sockets remember, and
/// one where no socket is shown anything.
struct Sites {
    bare: Rc<Site>,
    peername: [Rc<Site>; 3],
    nopeername: [Rc<Site>; 3],
    untold: Rc<Site>,
}

impl Sites {
    fn new(lab: &Lab, pod: &Pod) -> Result<Self> {
        let pod = pod.dual(PORT);
        let site = |frontends, shown| Site::new(lab, frontends, pod, shown).map(Rc::new);
        let sites =
            |shown| anyhow::Ok([site(10, shown)?, site(10_000, shown)?, site(100_000, shown)?]);
        let bare = Rc::new(Site::bare(lab, pod)?);
        let (peername, nopeername) = (sites(Shown::All)?, sites(Shown::Udp)?);
        Ok(Self { bare, peername, nopeername, untold: site(100_000, Shown::None)? })
    }

    fn at(&self, at: At, family: Family) -> Vec<&Rc<Site>> {
        let ([few, many, most], [few_no, many_no, most_no]) = (&self.peername, &self.nopeername);
        match (at, family) {
            (Bare, _) => vec![&self.bare],
            (All, V4 | V6) => vec![few, many, most],
            (Ends, V4) => vec![few, most],
            (All, Mapped) | (Ends, V6 | Mapped) | (Most, _) => vec![most],
            (NoPeername, V4 | V6) => vec![few_no, many_no, most_no],
            (NoPeername, Mapped) | (NoPeernameMost, _) => vec![most_no],
            (NoPeernameFew, _) => vec![few_no],
            (Untold, _) => vec![&self.untold],
        }
    }
}
