//! One socket without a peer, that sends to many Services as sendmsg does: what it remembers is
//! the earlier backend of the next datagram.

use lb_common::{
    Earlier, Place, Selection, Tables, UdpOrigins,
    layout::{PEERS, Peer},
    select::stays,
};

use super::{
    Request,
    family::{Destination, Sample},
    machine::Machine,
    origins::{self, places},
    rules, selection,
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
    /// Sends a datagram, unless it is to port 0, which sendmsg lets pass before it asks.
    pub(crate) fn send<F: Sample>(&mut self, machine: &Machine, request: &Request)
    where
        Machine: Tables<F>,
    {
        let asked = machine.start::<F>(request);
        if asked.port == 0 {
            return;
        }
        let frontend = F::place(&asked);
        let known = self.known.recall(&frontend).copied();
        let earlier = known.map(|it| Earlier { backend: it.backend_id, hint: it.hint });
        let is_still = machine.is_still();
        let stayed = known.and_then(|it| Self::stay::<F>(machine, &asked, it));
        let selection = selection::<F>(machine, &asked, earlier);
        if let Some(known) = known.filter(|_| is_still && stayed.is_some())
            && machine.has::<F>(&asked, known.slot)
        {
            let Selection::Backend(selected) = &selection else { panic!("asked, it has none") };
            assert_eq!((selected.slot, Some(selected.position)), (known.slot, stayed));
        }
        let Selection::Backend(selected) = selection else { return };
        let backend = F::backend_place(&selected.backend);
        let chosen = Earlier { backend: F::id(&selected.backend), hint: selected.position };
        self.known.note(&frontend, &backend, selected.slot, chosen);

        assert_eq!(self.known.frontend_of(&backend), Some(frontend), "the last one that was used");
        let known = self.known.recall(&frontend).expect("it was just noted");
        assert!((known.backend_id, known.slot) == (chosen.backend, selected.slot));
        let all: Vec<(Place, Place)> = self.known.peers.iter().filter_map(places).collect();
        assert!(all.len() <= PEERS);
        assert_eq!(all.iter().filter(|(its, _)| *its == frontend).count(), 1);

        let known = *self.known.recall(&frontend).expect("it was just noted");
        if is_still && machine.has::<F>(&asked, selected.slot) {
            let stayed = Self::stay::<F>(machine, &asked, known);
            assert_eq!(stayed, Some(selected.position), "the next datagram goes elsewhere");
        }
    }

    /// What spares the lookup, checked. Leaves no loads in the log.
    fn stay<F: Sample>(machine: &Machine, asked: &Destination, known: Peer) -> Option<u32>
    where
        Machine: Tables<F>,
    {
        machine.forget_log();
        let earlier = Earlier { backend: known.backend_id, hint: known.hint };
        let key = F::key(asked);
        let stayed = stays::<F, _, _>(machine, machine, &key, known.slot, earlier);
        rules::stayed(&machine.log(), F::tag(&key), known.slot, earlier, stayed);
        machine.forget_log();
        stayed
    }
}
