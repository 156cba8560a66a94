//! Orders the backends of a service inside its new block.
//!
//! A backend that stays keeps its id, and its position where the new length allows: what remembers
//! a backend by position (session affinity does, as a hint) finds it there again. Must never give
//! one id to two backends.

use std::{net::SocketAddrV4, ops::Range};

use lb_common::Backend4;

/// The next block of a service that has the backends `old` and shall have `wanted`, which is
/// sorted and without duplicates. New backends take their ids from `next_id`. `None` if the set
/// does not change.
pub fn place(
    old: &[Backend4],
    wanted: &[SocketAddrV4],
    next_id: &mut u32,
) -> Option<Vec<Backend4>> {
    debug_assert!(wanted.is_sorted_by(|a, b| a < b), "sorted, without duplicates");
    let mut kept = vec![false; wanted.len()];
    let mut places: Vec<Option<Backend4>> = vec![None; wanted.len()];
    let mut displaced = Vec::new();
    for (position, backend) in old.iter().enumerate() {
        if let Ok(index) = wanted.binary_search(&address(backend)) {
            kept[index] = true;
            match places.get_mut(position) {
                Some(place) => *place = Some(*backend),
                None => displaced.push(*backend),
            }
        }
    }
    let survivors = kept.iter().filter(|kept| **kept).count();
    if survivors == old.len() && survivors == wanted.len() {
        return None;
    }
    let fresh = wanted.iter().zip(&kept).filter(|(_, kept)| !**kept).map(|(address, _)| {
        let id = take_id(next_id);
        Backend4 { address: address.ip().octets(), port: address.port(), flags: 0, id, reserved: 0 }
    });
    let mut fill = displaced.into_iter().chain(fresh);
    Some(places.into_iter().filter_map(|place| place.or_else(|| fill.next())).collect())
}

/// The longest run of consecutive backends that are all `wanted`, which is sorted; the first of
/// several. Empty if none is wanted.
pub fn longest_run(backends: &[Backend4], wanted: &[SocketAddrV4]) -> Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for (position, backend) in backends.iter().enumerate() {
        if wanted.binary_search(&address(backend)).is_err() {
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
/// After 2³² ids: they are never reused within a generation of tables, and a restart makes another.
pub fn take_id(next: &mut u32) -> u32 {
    let id = *next;
    *next = id.checked_add(1).expect("2³² ids are used up: the agent has to be restarted");
    id
}

/// The address and port of a backend.
pub fn address(backend: &Backend4) -> SocketAddrV4 {
    SocketAddrV4::new(backend.address.into(), backend.port)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn set(hosts: impl IntoIterator<Item = u8>) -> Vec<SocketAddrV4> {
        let hosts: BTreeSet<u8> = hosts.into_iter().collect();
        hosts.into_iter().map(|n| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), 80)).collect()
    }

    #[test]
    fn only_the_last_backend_moves_into_a_gap() {
        let mut next_id = 1;
        let old = place(&[], &set(1..=4), &mut next_id).unwrap();
        let new = place(&old, &set([1, 3, 4]), &mut next_id).unwrap();
        assert_eq!(new, [old[0], old[3], old[2]]);
        assert_eq!(place(&new, &set([1, 3, 4]), &mut next_id), None);
        assert_eq!(next_id, 5);
    }

    #[test]
    fn the_longest_run_of_what_is_wanted() {
        let old = place(&[], &set(1..=6), &mut 1).unwrap();
        assert_eq!(longest_run(&old, &set([1, 3, 4, 6])), 2..4);
        assert_eq!(longest_run(&old, &set(1..=6)), 0..6);
        assert!(longest_run(&old, &set([9])).is_empty());
    }

    proptest! {
        #[test]
        fn the_set_is_what_was_wanted_and_survivors_keep_their_ids(
            before in prop::collection::vec(0..40u8, 0..30),
            after in prop::collection::vec(0..40u8, 0..30),
        ) {
            let (before, after) = (set(before), set(after));
            let mut next_id = 1;
            let old = place(&[], &before, &mut next_id).unwrap_or_default();
            let first_new = next_id;
            let Some(new) = place(&old, &after, &mut next_id) else {
                prop_assert_eq!(before, after);
                return Ok(());
            };
            let mut addresses: Vec<_> = new.iter().map(address).collect();
            addresses.sort();
            prop_assert_eq!(addresses, after);
            let ids: BTreeSet<u32> = new.iter().map(|backend| backend.id).collect();
            prop_assert_eq!(ids.len(), new.len());
            for (position, backend) in new.iter().enumerate() {
                match old.iter().position(|old| address(old) == address(backend)) {
                    Some(was) => {
                        prop_assert_eq!(old[was].id, backend.id);
                        prop_assert!(was == position || was >= new.len());
                    }
                    None => prop_assert!(backend.id >= first_new),
                }
            }
        }
    }
}
