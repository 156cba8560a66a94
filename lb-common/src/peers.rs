//! The Services that one unconnected UDP socket talks to: which backend its datagrams to each go
//! to, and which Service's address each reply is to show.
//!
//! Sixteen at once ([`PEERS`]). Another one takes the place of the Service that the socket has gone
//! without for the longest: its replies then show the backend's address, and the next datagram to
//! it may choose another backend. Where two Services lead to one backend, a reply shows the one that
//! was sent to last.
//!
//! The hooks that call this hold the socket's lock, so nothing here is atomic. It must never loop
//! over anything but the peers.

use crate::{
    layout::{ORIGIN_VERSION, Octets, PEERS, Peer, UdpOrigins},
    select::Earlier,
};

/// An address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: Octets,
    /// In host byte order.
    pub port: u16,
}

impl Place {
    /// Whether an origin's address and port are this place.
    #[inline(always)]
    pub fn is(&self, address: Octets, port: u16) -> bool {
        // One branch instead of five: the kernel's verifier follows each of them.
        let (mine, other) = (self.address.words, address.words);
        let differences = (mine[0] ^ other[0])
            | (mine[1] ^ other[1])
            | (mine[2] ^ other[2])
            | (mine[3] ^ other[3])
            | u32::from(self.port ^ port);
        differences == 0
    }
}

impl UdpOrigins {
    /// Where the socket's datagrams to a frontend went, if it is remembered. The frontend counts as
    /// used.
    #[inline(always)]
    pub fn recall(&mut self, frontend: &Place) -> Option<&mut Peer> {
        if frontend.is_frontend_of(self.recent_peer()) {
            return Some(self.recent_peer());
        }
        for index in 0..PEERS {
            if self.peers.get(index).is_some_and(|peer| frontend.is_frontend_of(peer)) {
                self.recent = index as u32;
                self.clock = self.clock.wrapping_add(1);
                let used = self.clock;
                let peer = self.recent_peer();
                peer.used = used;
                return Some(peer);
            }
        }
        None
    }

    /// Notes that datagrams to a frontend go to a backend from now on: in the frontend's entry, a
    /// free one, or the one that was used the longest ago.
    #[inline(always)]
    pub fn note(&mut self, frontend: &Place, backend: &Place, slot: u32, chosen: Earlier) {
        let mut place = 0;
        let mut oldest = 0;
        for index in 0..PEERS {
            let Some(peer) = self.peers.get(index) else { break };
            if peer.frontend_port == 0 || frontend.is_frontend_of(peer) {
                place = index;
                break;
            }
            let age = self.clock.wrapping_sub(peer.used);
            if age >= oldest {
                (oldest, place) = (age, index);
            }
        }
        self.version = ORIGIN_VERSION.into();
        self.clock = self.clock.wrapping_add(1);
        self.recent = place as u32;
        let used = self.clock;
        *self.recent_peer() = Peer {
            frontend: frontend.address,
            backend: backend.address,
            frontend_port: frontend.port,
            backend_port: backend.port,
            backend_id: chosen.backend,
            slot,
            hint: chosen.hint,
            used,
            spare: 0,
        };
    }

    /// The frontend that the socket reached a backend by, the one that was used last if there are
    /// several.
    #[inline(always)]
    pub fn frontend_of(&mut self, backend: &Place) -> Option<Place> {
        let recent = self.recent_peer();
        if backend.is_backend_of(recent) {
            return Some(recent.frontend());
        }
        // Two passes: one that kept the best entry so far would be followed by the kernel's verifier
        // for each entry that it may be.
        let mut youngest = u32::MAX;
        for index in 0..PEERS {
            let Some(peer) = self.peers.get(index) else { break };
            if backend.is_backend_of(peer) {
                youngest = youngest.min(self.clock.wrapping_sub(peer.used));
            }
        }
        for index in 0..PEERS {
            let Some(peer) = self.peers.get(index) else { break };
            if self.clock.wrapping_sub(peer.used) == youngest && backend.is_backend_of(peer) {
                return Some(peer.frontend());
            }
        }
        None
    }

    /// The entry that was used last.
    ///
    /// Its index is loaded anew each time: the kernel's verifier, which follows every way through a
    /// program, then knows it for some entry, and does not go on with each of the sixteen apart.
    #[inline(always)]
    fn recent_peer(&mut self) -> &mut Peer {
        let this = core::hint::black_box(self);
        &mut this.peers[this.recent as usize % PEERS]
    }
}

impl Peer {
    #[inline(always)]
    fn frontend(&self) -> Place {
        Place { address: self.frontend, port: self.frontend_port }
    }
}

impl Place {
    #[inline(always)]
    fn is_frontend_of(&self, peer: &Peer) -> bool {
        self.is(peer.frontend, peer.frontend_port)
    }

    #[inline(always)]
    fn is_backend_of(&self, peer: &Peer) -> bool {
        peer.frontend_port != 0 && self.is(peer.backend, peer.backend_port)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn empty() -> UdpOrigins {
        let peer = Peer {
            frontend: Octets::v6([0; 16]),
            backend: Octets::v6([0; 16]),
            frontend_port: 0,
            backend_port: 0,
            backend_id: 0,
            slot: 0,
            hint: 0,
            used: 0,
            spare: 0,
        };
        UdpOrigins { version: 0, clock: 0, recent: 0, spare: 0, peers: [peer; PEERS] }
    }

    fn frontend(n: u8) -> Place {
        Place { address: Octets::v4([10, 96, 0, n]), port: 53 }
    }

    fn backend(n: u8) -> Place {
        Place { address: Octets::v4([10, 244, 0, n]), port: 5353 }
    }

    fn note(origins: &mut UdpOrigins, n: u8, to: u8) {
        origins.note(&frontend(n), &backend(to), n.into(), Earlier { backend: to.into(), hint: 0 });
    }

    #[test]
    fn sixteen_services_are_told_apart() {
        let mut origins = empty();
        (0..16).for_each(|n| note(&mut origins, n, n));
        for n in (0..16).rev() {
            assert_eq!(origins.frontend_of(&backend(n)), Some(frontend(n)));
            assert_eq!(origins.recall(&frontend(n)).unwrap().backend_id, n.into());
        }
        assert_eq!(origins.frontend_of(&backend(16)), None);
        assert_eq!(origins.frontend_of(&frontend(3)), None);
    }

    #[test]
    fn a_seventeenth_takes_the_place_of_the_one_unused_for_longest() {
        let mut origins = empty();
        (0..16).for_each(|n| note(&mut origins, n, n));
        origins.recall(&frontend(0)).unwrap();
        note(&mut origins, 16, 16);
        assert!(origins.recall(&frontend(1)).is_none());
        assert_eq!(origins.frontend_of(&backend(1)), None);
        for n in [0, 2, 15, 16] {
            assert_eq!(origins.frontend_of(&backend(n)), Some(frontend(n)), "{n}");
        }
    }

    #[test]
    fn of_two_services_with_one_backend_the_last_used_is_shown() {
        let mut origins = empty();
        note(&mut origins, 1, 9);
        note(&mut origins, 2, 9);
        note(&mut origins, 3, 3);
        assert_eq!(origins.frontend_of(&backend(9)), Some(frontend(2)));
        origins.recall(&frontend(1)).unwrap();
        note(&mut origins, 3, 4);
        assert_eq!(origins.frontend_of(&backend(9)), Some(frontend(1)));
    }

    #[test]
    fn another_backend_takes_the_same_entry() {
        let mut origins = empty();
        note(&mut origins, 1, 1);
        note(&mut origins, 1, 2);
        assert_eq!(origins.frontend_of(&backend(1)), None);
        assert_eq!(origins.recall(&frontend(1)).unwrap().backend_id, 2);
        assert_eq!(origins.peers.iter().filter(|peer| peer.frontend_port != 0).count(), 1);
    }

    #[test]
    fn addresses_know_their_family() {
        assert_eq!(Octets::v4([1, 2, 3, 4]).as_v4(), Some([1, 2, 3, 4]));
        assert_eq!(Octets::v6([1; 16]).as_v4(), None);
        assert_eq!(Octets::v6([0; 16]).as_v4(), None);
        let octets = std::array::from_fn(|n| n as u8);
        assert_eq!(Octets::v6(octets).octets(), octets);
    }
}
