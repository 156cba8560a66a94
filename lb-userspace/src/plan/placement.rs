//! Numbers the backends of a Service port, and orders them inside of a block.
//!
//! A block is sorted by id, so that the programs find a backend by bisection. Ids are never reused,
//! so what is new comes last and what stays keeps its order. Must never give one id to two backends.

use std::{net::SocketAddr, ops::Range};

use crate::model::{Address6, Backends};

/// A backend of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where connections go to.
    pub address: SocketAddr,
    /// Names it within the tables. Never 0.
    pub id: u32,
}

/// The block of a Service port that is to have the backends `wanted`. One that is among `standing`,
/// in which an address always has the same id, keeps its id, as does one that `recall` knows; a new
/// one takes its id from `next_id`.
pub fn place(
    wanted: &Backends,
    standing: impl Iterator<Item = Backend>,
    recall: impl Fn(SocketAddr) -> Option<u32>,
    next_id: &mut u32,
) -> Vec<Backend> {
    let mut stays = vec![false; wanted.len()];
    let mut block = Vec::with_capacity(wanted.len());
    // Ids are given in the order of addresses, so what stood together mostly stands together.
    let mut next = 0;
    for backend in standing {
        if let Some(index) = position(wanted, backend.address, next) {
            next = index + 1;
            if !std::mem::replace(&mut stays[index], true) {
                block.push(backend);
            }
        }
    }
    for (address, _) in wanted.iter().zip(stays).filter(|(_, stays)| !stays) {
        let id = recall(address).unwrap_or_else(|| take_id(next_id));
        block.push(Backend { address, id });
    }
    // Sorted already unless several sets stand, or ids were recalled.
    block.sort_unstable_by_key(|backend| backend.id);
    block
}

/// The longest run of consecutive backends that are all `wanted`; the first of several. Empty if
/// none is wanted.
pub fn longest_run(block: impl Iterator<Item = Backend>, wanted: &Backends) -> Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for (position, backend) in block.enumerate() {
        if !wanted.contains(backend.address) {
            start = position + 1;
        } else if position + 1 - start > longest.len() {
            longest = start..position + 1;
        }
    }
    longest
}

/// Takes the next id.
///
/// # Panics
///
/// After 2³² ids: they are never reused. An agent that starts with more than half of them taken
/// numbers anew.
pub fn take_id(next: &mut u32) -> u32 {
    let id = *next;
    *next = id.checked_add(1).expect("2³² ids are used up: the agent has to be restarted");
    id
}

/// Where an address is in a set. `hint` is looked at first.
fn position(backends: &Backends, address: SocketAddr, hint: usize) -> Option<usize> {
    fn find<T: Ord>(all: &[T], wanted: &T, hint: usize) -> Option<usize> {
        if all.get(hint) == Some(wanted) { Some(hint) } else { all.binary_search(wanted).ok() }
    }
    match (backends, address) {
        (Backends::V4(backends), SocketAddr::V4(address)) => find(backends, &address, hint),
        (Backends::V6(backends), SocketAddr::V6(address)) => {
            find(backends, &Address6 { address: *address.ip(), port: address.port() }, hint)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        net::{Ipv4Addr, SocketAddrV4},
    };

    use proptest::prelude::*;

    use super::*;

    fn set(hosts: impl IntoIterator<Item = u8>) -> Backends {
        let hosts: BTreeSet<u8> = hosts.into_iter().collect();
        let address = |host| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 80);
        Backends::V4(hosts.into_iter().map(address).collect())
    }

    fn first(wanted: &Backends, next_id: &mut u32) -> Vec<Backend> {
        place(wanted, std::iter::empty(), |_| None, next_id)
    }

    #[test]
    fn what_is_new_comes_last() {
        let mut next_id = 1;
        let old = first(&set([1, 3, 4]), &mut next_id);
        let new = place(&set([1, 2, 4]), old.iter().copied(), |_| None, &mut next_id);
        let hosts: Vec<String> = new.iter().map(|backend| backend.address.to_string()).collect();
        assert_eq!(hosts, ["10.0.0.1:80", "10.0.0.4:80", "10.0.0.2:80"]);
        assert_eq!(new.iter().map(|backend| backend.id).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn a_set_takes_ids_from_all_that_stand_and_from_before() {
        let mut next_id = 100;
        let (one, other) = (first(&set([1, 2]), &mut next_id), first(&set([7]), &mut next_id));
        let standing = || one.iter().chain(&other).chain(&one).copied();
        let recall = |address: SocketAddr| (address.to_string() == "10.0.0.5:80").then_some(50);
        let new = place(&set([2, 5, 7, 9]), standing(), recall, &mut next_id);
        assert_eq!(new.iter().map(|backend| backend.id).collect::<Vec<_>>(), [50, 101, 102, 103]);
        assert_eq!(new[0].address.to_string(), "10.0.0.5:80");
    }

    #[test]
    fn the_longest_run_of_what_is_wanted() {
        let old = first(&set(1..=6), &mut 1);
        let run = |wanted| longest_run(old.iter().copied(), &wanted);
        assert_eq!(run(set([1, 3, 4, 6])), 2..4);
        assert_eq!(run(set(1..=6)), 0..6);
        assert!(run(set([9])).is_empty());
    }

    proptest! {
        #[test]
        fn the_set_is_what_was_wanted_sorted_and_survivors_keep_their_ids(
            sets in prop::collection::vec(prop::collection::vec(0..40u8, 0..30), 2..6),
        ) {
            let mut next_id = 1;
            let mut old: Vec<Backend> = Vec::new();
            for hosts in sets {
                let (wanted, first_new) = (set(hosts), next_id);
                let new = place(&wanted, old.iter().copied(), |_| None, &mut next_id);
                prop_assert!(new.is_sorted_by(|a, b| a.id < b.id));
                let addresses: BTreeSet<SocketAddr> =
                    new.iter().map(|backend| backend.address).collect();
                prop_assert_eq!(addresses, wanted.iter().collect::<BTreeSet<_>>());
                prop_assert_eq!(new.len(), wanted.len());
                for backend in &new {
                    match old.iter().find(|old| old.address == backend.address) {
                        Some(old) => prop_assert_eq!(old.id, backend.id),
                        None => prop_assert!(backend.id >= first_new),
                    }
                }
                old = new;
            }
        }
    }
}
