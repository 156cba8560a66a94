//! Closes those of some stale sockets that are still connected to their backend.
//!
//! Each affected namespace is listed once for each protocol and family that can hold one of them.
//! What is not found or not closed is handed back: when to look again is not decided here.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::{
    CloseError, TCP, UDP, name,
    node::{Diag, Family, Node, Place, Socket},
    stale::Stale,
};
use crate::netns::Search;

/// What became of the stale sockets: each is in one of the first four.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) closed: Vec<Stale>,
    /// Not found, not connected to their backend, or not closed for another reason that may pass.
    pub(super) left: Vec<Stale>,
    /// Not looked for, since not everything could be read where they may be.
    pub(super) unread: Vec<Stale>,
    /// Can never be closed on this kernel.
    pub(super) lost: Vec<Stale>,
    pub(super) errors: Vec<CloseError>,
}

/// Looks at each of the sockets once. If `thorough`, namespaces that do not show at once are searched
/// for everywhere.
pub(super) fn sweep<N: Node>(node: &mut N, stale: Vec<Stale>, thorough: bool) -> Swept {
    let mut swept = Swept::default();
    let mut wanted = stale;
    let mut all_read = true;
    let mut visited = Vec::new();
    let searches: &[_] =
        if thorough { &[Search::Usual, Search::Everywhere] } else { &[Search::Usual] };
    for &search in searches {
        if wanted.is_empty() {
            break;
        }
        let places = match node.namespaces(search) {
            Ok(places) => places,
            Err(error) => {
                swept.errors.push(error.into());
                all_read = false;
                break;
            }
        };
        for place in places {
            if visited.contains(&place.inode()) {
                continue;
            }
            visited.push(place.inode());
            let cookie = place.cookie();
            let here = |stale: &mut Stale| cookie.is_none_or(|cookie| cookie == stale.netns);
            let candidates: Vec<_> = wanted.extract_if(.., here).collect();
            if candidates.is_empty() {
                continue;
            }
            let Visit { absent, unread } = visit(&place, candidates, &mut swept);
            match cookie {
                // They are in no other namespace.
                Some(_) => {
                    swept.left.extend(absent);
                    swept.unread.extend(unread);
                }
                None => {
                    all_read &= unread.is_empty();
                    wanted.extend(absent);
                    wanted.extend(unread);
                }
            }
        }
    }
    let rest = if all_read { &mut swept.left } else { &mut swept.unread };
    rest.extend(wanted);
    swept
}

/// What was not seen in a namespace.
#[derive(Default)]
struct Visit {
    /// They are not there.
    absent: Vec<Stale>,
    /// They may be: the list failed.
    unread: Vec<Stale>,
}

/// Looks for the sockets in one namespace.
fn visit<P: Place>(place: &P, candidates: Vec<Stale>, swept: &mut Swept) -> Visit {
    let mut diag = match place.open() {
        Ok(diag) => diag,
        Err(error) => {
            swept.errors.push(error);
            return Visit { unread: candidates, ..Visit::default() };
        }
    };
    let mut visit = Visit::default();
    for protocol in [UDP, TCP] {
        let of_protocol = candidates.iter().filter(|stale| stale.protocol == protocol);
        let mut sought: FxHashMap<_, _> = of_protocol.map(|&stale| (stale.socket, stale)).collect();
        let found = find(&mut diag, place.inode(), protocol, &mut sought, &mut visit.unread, swept);
        visit.absent.extend(sought.into_values());
        destroy(&mut diag, place.inode(), found, swept);
    }
    visit
}

/// Lists the sockets of one protocol and takes those that are listed out of `sought`. Returns those
/// whose peer is their backend. Those that a list that failed does not tell go to `unread`.
fn find(
    diag: &mut impl Diag,
    inode: u64,
    protocol: u8,
    sought: &mut FxHashMap<u64, Stale>,
    unread: &mut Vec<Stale>,
    swept: &mut Swept,
) -> Vec<(Stale, Socket)> {
    let mut found = Vec::new();
    for family in [Family::Inet, Family::Inet6] {
        // A socket of AF_INET6 may be connected to an IPv4 backend, but not the other way round.
        let possible = |stale: &Stale| family == Family::Inet6 || stale.backend.is_ipv4();
        if !sought.values().any(possible) {
            continue;
        }
        let listed = diag.list(family, protocol, &mut |socket| {
            if let Entry::Occupied(entry) = sought.entry(socket.cookie()) {
                let stale = entry.remove();
                if stale.backend == socket.peer() {
                    found.push((stale, socket));
                } else {
                    swept.left.push(stale);
                }
            }
        });
        if let Err(error) = listed {
            let rest = sought.drain().map(|(_, stale)| stale);
            let protocol = name(protocol);
            if error.raw_os_error() == Some(libc::ENOENT) {
                swept.lost.extend(rest);
                swept.errors.push(CloseError::NoList { protocol });
            } else {
                unread.extend(rest);
                swept.errors.push(CloseError::List { protocol, inode, source: error });
            }
        }
    }
    found
}

/// Closes what was found. The kernel looks a socket up by its addresses and compares the cookie
/// after: of several that share all addresses (SO_REUSEPORT) it finds one, and another when that
/// is closed. So those that it did not find are tried again as long as one goes.
fn destroy(diag: &mut impl Diag, inode: u64, mut found: Vec<(Stale, Socket)>, swept: &mut Swept) {
    let mut told = false;
    while !found.is_empty() {
        let closed = swept.closed.len();
        found = destroy_once(diag, inode, found, swept, &mut told);
        if swept.closed.len() == closed {
            swept.left.extend(found.drain(..).map(|(stale, _)| stale));
        }
    }
}

/// Returns those that the kernel does not find.
fn destroy_once(
    diag: &mut impl Diag,
    inode: u64,
    found: Vec<(Stale, Socket)>,
    swept: &mut Swept,
    told: &mut bool,
) -> Vec<(Stale, Socket)> {
    let mut again = Vec::new();
    let mut found = found.into_iter();
    while let Some((stale, socket)) = found.next() {
        let error = match diag.destroy(&socket) {
            Ok(()) => {
                tracing::debug!(
                    protocol = name(stale.protocol),
                    service = stale.service,
                    backend = %stale.backend,
                    namespace = inode,
                    socket = stale.socket,
                    "closed a socket"
                );
                swept.closed.push(stale);
                continue;
            }
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => {
                swept.lost.push(stale);
                swept.lost.extend(found.by_ref().map(|(stale, _)| stale));
                swept.errors.push(CloseError::NoDestroy);
                continue;
            }
            // It went, or the kernel found another socket with the same addresses.
            Some(libc::ENOENT) => {
                again.push((stale, socket));
                continue;
            }
            // One error for each namespace says enough.
            _ if *told => {}
            _ => {
                *told = true;
                swept.errors.push(CloseError::Destroy { inode, source: error });
            }
        }
        swept.left.push(stale);
    }
    again
}

#[cfg(test)]
mod tests;
