//! One socket without a peer, that sends to many Services as sendmsg does: what it remembers is
//! the earlier backend of the next datagram.

use lb_common::{Earlier, Place, Selection, Tables, UdpOrigins, layout::PEERS};

use super::{
    Request,
    family::Sample,
    machine::Machine,
    origins::{self, places},
    selection,
};

pub(crate) struct Sender {
    known: UdpOrigins,
}

impl Default for Sender {
    fn default() -> Self {
        Self { known: origins::empty(0) }
    }
}

impl Sender {
    /// Sends a datagram, if the destination can have one: the kernel refuses port 0 before it asks.
    pub(crate) fn send<F: Sample>(&mut self, machine: &Machine, request: &Request)
    where
        Machine: Tables<F>,
    {
        let asked = machine.start::<F>(request);
        if asked.port == 0 {
            return;
        }
        let frontend = F::place(&asked);
        let known = self.known.recall(&frontend);
        let earlier = known.map(|it| Earlier { backend: it.backend_id, hint: it.hint });
        let Selection::Backend(selected) = selection::<F>(machine, &asked, earlier) else { return };
        let backend = F::backend_place(&selected.backend);
        let chosen = Earlier { backend: F::id(&selected.backend), hint: selected.position };
        self.known.note(&frontend, &backend, selected.slot, chosen);

        assert_eq!(self.known.frontend_of(&backend), Some(frontend), "the last one that was used");
        let known = self.known.recall(&frontend).expect("it was just noted");
        assert!((known.backend_id, known.slot) == (chosen.backend, selected.slot));
        let all: Vec<(Place, Place)> = self.known.peers.iter().filter_map(places).collect();
        assert!(all.len() <= PEERS);
        assert_eq!(all.iter().filter(|(its, _)| *its == frontend).count(), 1);
    }
}
