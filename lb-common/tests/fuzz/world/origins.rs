//! What one unconnected UDP socket remembers, as bytes describe it: from nothing, where a model says
//! what has to be remembered, or from any bytes whatever, where each step has to keep its word alone.

use arbitrary::Arbitrary;
use lb_common::{
    Earlier, Octets, Place, UdpOrigins,
    layout::{PEERS, Peer},
};

use super::Word;

/// Operations that one history is run for.
const STEPS: usize = 256;

/// An address and port; likely one of a few more than a socket remembers.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Spot {
    Known(u8),
    Any([u32; 4], u16),
}

impl Spot {
    /// The programs let port 0 pass, and no datagram comes from there.
    fn place(self) -> Place {
        match self {
            Self::Known(n) => Place { address: Octets::v4([10, 96, 0, n % 20]), port: 53 },
            Self::Any(words, port) => Place { address: Octets { words }, port: port.max(1) },
        }
    }
}

/// An entry that is there before.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) frontend: Spot,
    pub(crate) backend: Spot,
    pub(crate) free: bool,
    pub(crate) used: Word,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Step {
    Recall(Spot),
    Note(Spot, Spot),
    Show(Spot),
}

#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct History {
    pub(crate) clock: Word,
    pub(crate) recent: Word,
    /// What the storage holds; nothing if there is none, as in the kernel.
    pub(crate) entries: Option<[Entry; PEERS]>,
    pub(crate) steps: Vec<Step>,
}

/// Storage as the kernel makes it, but for the clock.
pub(crate) fn empty(clock: u32) -> UdpOrigins {
    let nowhere = Octets { words: [0; 4] };
    let peer = Peer {
        frontend: nowhere,
        backend: nowhere,
        frontend_port: 0,
        backend_port: 0,
        backend_id: 0,
        slot: 0,
        hint: 0,
        used: 0,
        spare: 0,
    };
    UdpOrigins { version: 0, clock, recent: 0, spare: 0, peers: [peer; PEERS] }
}

/// Frontend and backend of an entry in use.
pub(crate) fn places(peer: &Peer) -> Option<(Place, Place)> {
    (peer.frontend_port != 0).then_some((
        Place { address: peer.frontend, port: peer.frontend_port },
        Place { address: peer.backend, port: peer.backend_port },
    ))
}

/// Runs the history.
///
/// # Panics
///
/// If `lb_common` breaks a promise.
pub(crate) fn run(history: &History) {
    let mut origins = empty(history.clock.get());
    let mut model = history.entries.is_none().then(Vec::new);
    if let Some(entries) = &history.entries {
        origins.recent = history.recent.get();
        for (peer, entry) in origins.peers.iter_mut().zip(entries) {
            let (frontend, backend) = (entry.frontend.place(), entry.backend.place());
            peer.frontend = frontend.address;
            peer.backend = backend.address;
            peer.frontend_port = if entry.free { 0 } else { frontend.port };
            peer.backend_port = backend.port;
            peer.used = entry.used.get();
        }
    }
    for step in history.steps.iter().take(STEPS) {
        let before: Vec<_> = origins.peers.iter().map(places).collect();
        match step {
            Step::Recall(spot) => recall(&mut origins, &before, model.as_mut(), &spot.place()),
            Step::Note(frontend, backend) => {
                let (frontend, backend) = (frontend.place(), backend.place());
                note(&mut origins, &before, model.as_mut(), frontend, backend);
            }
            Step::Show(spot) => show(&mut origins, &before, model.as_ref(), &spot.place()),
        }
    }
}

type Places = [Option<(Place, Place)>];

/// Frontends and backends, the one that was used last at the end.
type Model = Vec<(Place, Place)>;

fn recall(origins: &mut UdpOrigins, before: &Places, model: Option<&mut Model>, frontend: &Place) {
    let found = origins.recall(frontend).map(|peer| places(peer).expect("an entry in use"));
    let mut all = before.iter().flatten();
    match found {
        Some(found) => assert!(found.0 == *frontend && all.any(|it| *it == found)),
        None => assert!(!all.any(|(its, _)| its == frontend), "forgot {frontend:?}"),
    }
    let after: Vec<_> = origins.peers.iter().map(places).collect();
    assert_eq!(before, after, "recalling changed what is known");
    if let Some(model) = model {
        let at = model.iter().position(|(its, _)| its == frontend);
        let expected = at.map(|at| model.remove(at));
        assert_eq!(found, expected);
        model.extend(expected);
    }
}

fn note(
    origins: &mut UdpOrigins,
    before: &Places,
    model: Option<&mut Model>,
    frontend: Place,
    backend: Place,
) {
    origins.note(&frontend, &backend, 1, Earlier { backend: 2, hint: 3 });
    let after: Vec<_> = origins.peers.iter().map(places).collect();
    let changed = before.iter().zip(&after).filter(|(old, new)| old != new);
    assert!(changed.count() <= 1, "more than one entry was taken");
    assert_eq!(origins.frontend_of(&backend), Some(frontend));
    let peer = origins.recall(&frontend).expect("it was just noted");
    assert!(places(peer) == Some((frontend, backend)));
    assert!((peer.slot, peer.backend_id, peer.hint) == (1, 2, 3));
    if let Some(model) = model {
        match model.iter().position(|(its, _)| *its == frontend) {
            Some(at) => drop(model.remove(at)),
            None if model.len() == PEERS => drop(model.remove(0)),
            None => {}
        }
        model.push((frontend, backend));
        let mut known: Vec<_> = after.iter().flatten().collect();
        assert_eq!(known.len(), model.len());
        known.retain(|entry| !model.contains(entry));
        assert!(known.is_empty(), "another entry was given up: {known:?}");
    }
}

fn show(origins: &mut UdpOrigins, before: &Places, model: Option<&Model>, backend: &Place) {
    let shown = origins.frontend_of(backend);
    let mut all = before.iter().flatten();
    match shown {
        Some(shown) => assert!(all.any(|it| *it == (shown, *backend))),
        None => assert!(!all.any(|(_, its)| its == backend), "hid {backend:?}"),
    }
    if let Some(model) = model {
        let last = model.iter().rev().find(|(_, its)| its == backend);
        assert_eq!(shown, last.map(|(frontend, _)| *frontend));
    }
}
