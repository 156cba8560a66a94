//! Which backend a connect or datagram goes to: the decision that runs in the kernel, and in every
//! test.
//!
//! The order of the loads is the protocol between a reader and the agent that publishes:
//!
//! 1. The frontend's value, one 64-bit load, checked against the key's tag.
//! 2. The service's range, one 64-bit load that sees everything written before the agent's
//!    release store of it.
//! 3. One backend inside that range, which stays as it is until a grace period has passed since
//!    the range was replaced.
//!
//! A reader that runs under RCU therefore sees the whole old set or the whole new set. What else a
//! slot says (affinity, flags) is loaded apart: whether a reader combines the old or the new of it
//! with a set, the backend it takes is one of that set.
//!
//! This module must never load a word twice, nor keep anything but through [`Client`].

mod find;
mod sticky;
#[cfg(test)]
mod tests;

use self::find::position_of;
use crate::{
    family::Family,
    layout::{Affinity, AffinityKey, Cidr4, Cidr6, FrontendValue, HOST_ONLY, Range},
};

/// How often a frontend is looked up while its tag does not match. One retry is almost always
/// enough: a mismatch means that the key was deleted, and its element reused, in the few
/// nanoseconds between the lookup and the load.
pub const LOOKUPS: u32 = 4;

/// Read access to the tables of one family, as a BPF program has it.
///
/// Implementations must make each load whole (never two halves of different stores), and
/// [`Tables::range`] must order the loads that follow after it: an acquire load, or a load on whose
/// value the following address depends.
pub trait Tables<F: Family> {
    /// The value that the key's hash element holds now, or `None` without such a key.
    fn frontend(&self, key: &F::Key) -> Option<FrontendValue>;
    /// The range of a slot, or `None` if `slot` lies outside of the table.
    fn range(&self, slot: u32) -> Option<Range>;
    /// The id of a slot's Service port and its affinity in seconds.
    fn identity(&self, slot: u32) -> (u32, u32);
    /// The flags of a slot, and the tag of the frontend that has it.
    fn traits(&self, slot: u32) -> (u32, u32);
    /// A backend, or `None` if `index` lies outside of the table.
    fn backend(&self, index: u32) -> Option<F::Backend>;
}

/// The first word of [`crate::layout::Config`], loaded at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Refuse what is inside of a Service CIDR and no Service's.
    pub refuse: bool,
    /// Some network namespaces are opted out.
    pub opt_outs: bool,
    /// Balance in the host's network namespace only.
    pub host_scope: bool,
    /// IPv4 Service CIDRs in use.
    pub cidr_count4: u16,
    /// IPv6 Service CIDRs in use.
    pub cidr_count6: u16,
}

/// SO_PRIORITY of the sockets by which the agent asks the API server. They are left alone, so that an
/// agent never depends on what an agent published. To set it takes CAP_NET_ADMIN, or from Linux 5.17 on
/// CAP_NET_RAW (`sk_setsockopt()` in net/core/sock.c). No queue has such a class, and its lowest four
/// bits, which are all that most look at, are those of the band that packets without a priority get.
pub const AGENT_PRIORITY: u32 = u32::from_be_bytes(*b"sclk");

/// Who connects, and what is remembered of them.
pub trait Client {
    /// 32 random bits.
    fn random(&self) -> u32;
    /// The cookie of the socket's network namespace.
    fn netns(&self) -> u64;
    /// Nanoseconds since boot, suspension included.
    fn now(&self) -> u64;
    /// The switches.
    fn switches(&self) -> Switches;
    /// The cookie of the host's network namespace, or 0.
    fn host(&self) -> u64;
    /// A Service CIDR that is in use.
    fn cidr4(&self, index: u16) -> Cidr4;
    /// A Service CIDR that is in use.
    fn cidr6(&self, index: u16) -> Cidr6;
    /// Whether the socket is the agent's own: its SO_PRIORITY is [`AGENT_PRIORITY`].
    fn is_the_agents(&self) -> bool;
    /// Whether this network namespace is opted out.
    fn is_opted_out(&self, netns: u64) -> bool;
    /// Hands what is remembered to `judge`, and replaces it by what that returns, if it returns
    /// anything. `None` if nothing is remembered.
    fn judge_affinity(
        &self,
        key: &AffinityKey,
        judge: impl FnOnce(Affinity) -> Option<Affinity>,
    ) -> Option<()>;
    /// Remembers the value unless there is one. Whether it did; not either if there is no room.
    fn remember(&self, key: &AffinityKey, value: &Affinity) -> bool;
}

/// A backend that a socket's earlier datagrams went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The backend's id.
    pub backend: u32,
    /// Where it stood in its range then.
    pub hint: u32,
}

/// The choice, with what a socket has to remember of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected<B> {
    /// The backend.
    pub backend: B,
    /// The frontend's slot.
    pub slot: u32,
    /// The Service port's id.
    pub service: u32,
    /// Where the backend stands in its range.
    pub position: u32,
}

/// What is to become of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<B> {
    /// The destination is no frontend, or none for this client: leave it alone.
    NotAFrontend,
    /// Rewrite the destination to this backend.
    Backend(Selected<B>),
    /// The frontend has no eligible backend: refuse.
    NoBackend,
    /// No Service has this address or port, though only Services may: refuse.
    Unserved,
    /// The hash element changed hands at each of [`LOOKUPS`] attempts: leave the connect alone.
    Unsettled,
    /// A slot or index lies outside of its table: refuse.
    Corrupt,
}

/// Chooses a backend for a connect to `key`: the one that the client is to stay with, or any, each
/// with the same chance. `earlier` goes before both while it is eligible.
#[inline(always)]
pub fn select<F: Family, T: Tables<F>, C: Client>(
    tables: &T,
    client: &C,
    key: &F::Key,
    earlier: Option<Earlier>,
) -> Selection<F::Backend> {
    let tag = F::tag(key);
    for _ in 0..LOOKUPS {
        let Some(value) = tables.frontend(key) else {
            return unserved::<F, T, C>(tables, client, key);
        };
        if value.tag == tag {
            return in_slot::<F, T, C>(tables, client, key, value.slot, earlier);
        }
    }
    Selection::Unsettled
}

#[inline(always)]
fn in_slot<F: Family, T: Tables<F>, C: Client>(
    tables: &T,
    client: &C,
    key: &F::Key,
    slot: u32,
    earlier: Option<Earlier>,
) -> Selection<F::Backend> {
    let Some(range) = tables.range(slot) else {
        return Selection::Corrupt;
    };
    if range.count == 0 && range.first == Range::GONE.first {
        return unserved::<F, T, C>(tables, client, key);
    }
    if range.count == 0 && range.first == Range::PASS.first {
        return Selection::NotAFrontend;
    }
    let (flags, _) = tables.traits(slot);
    if !is_for(client, flags) {
        return Selection::NotAFrontend;
    }
    if range.count == 0 {
        return Selection::NoBackend;
    }
    let (service, affinity) = tables.identity(slot);
    let stayed = match earlier {
        Some(Earlier { backend, hint }) => position_of::<F, T>(tables, range, backend, hint),
        None => None,
    };
    let position = match stayed {
        Some(position) => position,
        None if affinity == 0 => scale(client.random(), range.count),
        None => sticky::position::<F, T, C>(tables, client, range, service, affinity),
    };
    match tables.backend(range.first.wrapping_add(position)) {
        Some(backend) => Selection::Backend(Selected { backend, slot, service, position }),
        None => Selection::Corrupt,
    }
}

/// Where the backend stands that a socket's earlier datagrams to `key` went to, if the next one may
/// go there too: the same as [`select`] would answer, without a lookup of the key. `slot` was the
/// key's then.
///
/// The slot may have been given away since, also to another frontend of the same Service port, with
/// the same backends: the tag says so. It is loaded after the range, which was stored after it; a
/// processor that reorders the two may let one datagram go on as before.
#[inline(always)]
pub fn stays<F: Family, T: Tables<F>, C: Client>(
    tables: &T,
    client: &C,
    key: &F::Key,
    slot: u32,
    earlier: Earlier,
) -> Option<u32> {
    let range = tables.range(slot)?;
    let (flags, tag) = tables.traits(slot);
    if tag != F::tag(key) || !is_for(client, flags) {
        return None;
    }
    position_of::<F, T>(tables, range, earlier.backend, earlier.hint)
}

/// Whether a frontend with these flags exists for this client.
#[inline(always)]
fn is_for<C: Client>(client: &C, flags: u32) -> bool {
    if client.is_the_agents() {
        return false;
    }
    let switches = client.switches();
    let host_only = switches.host_scope || flags & HOST_ONLY != 0;
    if !host_only && !switches.opt_outs {
        return true;
    }
    let netns = client.netns();
    if host_only && netns != client.host() {
        return false;
    }
    !(switches.opt_outs && client.is_opted_out(netns))
}

/// What becomes of a connect to what is no frontend.
#[inline(always)]
fn unserved<F: Family, T: Tables<F>, C: Client>(
    tables: &T,
    client: &C,
    key: &F::Key,
) -> Selection<F::Backend> {
    // A marker says that another proxy has the address. Its key alone counts: it is taken out of
    // the table only when the address is nobody's, and a moment more of that does no harm.
    if client.switches().refuse
        && F::is_in_service_cidr(client, key)
        && is_for(client, 0)
        && tables.frontend(&F::marker(key)).is_none()
    {
        return Selection::Unserved;
    }
    Selection::NotAFrontend
}

/// Maps 32 random bits onto `0..count` without a division. The bias is below `count` / 2³².
#[inline(always)]
const fn scale(random: u32, count: u32) -> u32 {
    ((random as u64 * count as u64) >> 32) as u32
}
