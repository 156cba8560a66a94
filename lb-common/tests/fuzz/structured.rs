//! Worlds whose tables fit together, so that most selections get as far as a backend, and
//! histories of sockets that know too many Services.

use lb_common::layout::PEERS;
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::world::{
    Address, Backends, Change, Cidr, Config, Frontend, Kind, Known, Request, Slot, Step, Table,
    Target, Value, Word, World,
    origins::{self, Entry, History, Spot},
};

fn small(end: u8) -> impl Strategy<Value = Word> {
    (0..end).prop_map(Word::Small)
}

fn any_word() -> impl Strategy<Value = Word> {
    prop_oneof![
        any::<u8>().prop_map(Word::Small),
        any::<u8>().prop_map(Word::Large),
        any::<u32>().prop_map(Word::Any),
    ]
}

/// An id, likely one that a table has.
fn id() -> impl Strategy<Value = Word> {
    prop_oneof![4 => small(100), 2 => (0..1u32 << 28).prop_map(Word::Any), 1 => any_word()]
}

fn hint() -> impl Strategy<Value = Word> {
    prop_oneof![1 => small(30), 2 => any_word()]
}

fn target() -> impl Strategy<Value = Target> {
    let kind = prop_oneof![4 => Just(Kind::Tcp), 2 => Just(Kind::Udp), 1 => Just(Kind::Marker)];
    (0..4u8, kind).prop_map(|(address, kind)| {
        let port = if matches!(kind, Kind::Marker) { 0 } else { 80 };
        Target { address: Address::Known(address), port, kind }
    })
}

fn value() -> impl Strategy<Value = Value> {
    let tag = prop_oneof![9 => Just(None), 1 => any_word().prop_map(Some)];
    (small(5), tag).prop_map(|(slot, tag)| Value { slot, tag })
}

fn slot() -> impl Strategy<Value = Slot> {
    let of = |first, count| Backends::Some(first, count);
    let backends = prop_oneof![
        6 => (small(20), small(30)).prop_map(move |(first, count)| of(first, count)),
        2 => (small(20), (0..28u32).prop_map(|bits| Word::Any(1 << bits)))
            .prop_map(move |(first, count)| of(first, count)),
        1 => (any_word(), any_word()).prop_map(move |(first, count)| of(first, count)),
        1 => Just(Backends::Empty),
        1 => Just(Backends::Gone),
        1 => Just(Backends::Pass),
    ];
    (backends, small(3), small(4), select(vec![0, 0, 0, 1]))
        .prop_map(|(backends, id, affinity, flags)| Slot { backends, id, affinity, flags })
}

fn table() -> impl Strategy<Value = Table> {
    let size = prop_oneof![(30..70u8).prop_map(Word::Small), Just(Word::Any(1 << 28))];
    let base = prop_oneof![6 => small(20), 1 => any_word()];
    let odd = prop_oneof![9 => Just(vec![]), 1 => vec((small(40), small(80)), 1..4)];
    (size, base, select(vec![0, 1, 1, 1, 2, 3]), odd).prop_map(|(size, base, stride, odd)| Table {
        size,
        base,
        stride,
        odd,
    })
}

fn config() -> impl Strategy<Value = Config> {
    let counts = prop_oneof![(0..6u8).prop_map(|n| [n, 5 - n]), any::<[u8; 2]>()];
    let rare = || prop::bool::weighted(0.2);
    (any::<bool>(), rare(), rare(), counts, any::<bool>()).prop_map(
        |(refuse, opt_outs, host_scope, cidrs, opted_out)| Config {
            refuse,
            opt_outs,
            host_scope,
            cidrs,
            opted_out,
        },
    )
}

fn cidr() -> impl Strategy<Value = Cidr> {
    (0..8u8, any::<u8>()).prop_map(|(n, bits)| Cidr { address: Address::Known(n), bits })
}

fn known() -> impl Strategy<Value = Known> {
    let whose = prop_oneof![4 => Just(None), 1 => (0..3u8, small(3)).prop_map(Some)];
    (whose, -1..4i16, id(), hint()).prop_map(|(whose, idle, backend, hint)| Known {
        whose,
        idle,
        backend,
        hint,
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        1 => (any::<bool>(), option::of(value()))
            .prop_map(|(marker, value)| Change::Frontend { marker, value }),
        1 => (0..5u8, slot()).prop_map(|(slot, to)| Change::Slot { slot, to }),
        1 => (any::<bool>(), table()).prop_map(|(six, to)| Change::Table { six, to }),
        1 => config().prop_map(Change::Config),
        1 => (any::<bool>(), 0..4u8, cidr()).prop_map(|(six, index, to)| Change::Cidr {
            six,
            index,
            to
        }),
        4 => (0..3u8, option::weighted(0.8, known())).prop_map(|(element, to)| Change::Affinity { element, to }),
        1 => (0..3u8).prop_map(Change::Room),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let to = prop_oneof![6 => (0..8u8).prop_map(Ok), 1 => target().prop_map(Err)];
    let changes = prop_oneof![2 => Just(vec![]), 1 => vec((0..6u8, change()), 1..5)];
    let earlier = option::weighted(0.3, (id(), hint()));
    let later = prop_oneof![Just(0), 0..5_000_000_000u64, any::<u64>()];
    (any::<bool>(), to, earlier, any::<u32>(), later, 0..3u8, changes).prop_map(
        |(six, to, earlier, random, later, netns, changes)| Request {
            six,
            to,
            earlier,
            random: Word::Any(random),
            later,
            netns,
            changes,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => request().prop_map(Step::Connect),
        2 => request().prop_map(Step::Send),
        1 => change().prop_map(Step::Change),
    ]
}

/// Any world, but likely one whose tables lead somewhere.
pub(crate) fn world() -> impl Strategy<Value = World> {
    let frontend =
        (any::<bool>(), target(), value()).prop_map(|(six, at, value)| Frontend { six, at, value });
    (
        (config(), 0..3u8, table(), table(), 0..4u8),
        [[cidr(), cidr(), cidr(), cidr()], [cidr(), cidr(), cidr(), cidr()]],
        vec(frontend, 0..12),
        vec(slot(), 4..6),
        vec(step(), 1..24),
    )
        .prop_map(|((config, host, four, six, room), cidrs, frontends, slots, steps)| World {
            config,
            host,
            four,
            six,
            cidrs,
            frontends,
            slots,
            room,
            steps,
        })
}

/// One frontend, in slot 0, and what is done with it.
fn one(service: Slot, size: Word, steps: Vec<Step>) -> World {
    let at = Target { address: Address::Known(1), port: 80, kind: Kind::Tcp };
    let value = Value { slot: Word::Small(0), tag: None };
    let nobody = Cidr { address: Address::Known(0), bits: 32 };
    let table = Table { size, base: Word::Small(1), stride: 1, odd: vec![] };
    World {
        config: Config {
            refuse: false,
            opt_outs: false,
            host_scope: false,
            cidrs: [0; 2],
            opted_out: false,
        },
        host: 0,
        four: table.clone(),
        six: table,
        cidrs: [[nobody; 4]; 2],
        frontends: vec![Frontend { six: false, at, value }],
        slots: vec![service],
        room: 1,
        steps,
    }
}

fn to_one(earlier: Option<(Word, Word)>, random: u32, later: u64) -> Step {
    let (six, to, random) = (false, Ok(0), Word::Any(random));
    Step::Connect(Request { six, to, earlier, random, later, netns: 1, changes: vec![] })
}

/// A search for a backend in a range of any length.
pub(crate) fn long_range() -> impl Strategy<Value = World> {
    let count = prop_oneof![
        (0..32u32, any::<u32>()).prop_map(|(bits, low)| 1 << bits | low & ((1 << bits) - 1)),
        (0..=32u32, 0..2u64).prop_map(|(bits, less)| ((1u64 << bits) - less) as u32),
    ];
    let place = prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
    (count, place, -1..2i64, hint(), 0..4u32).prop_map(|(count, place, beyond, hint, first)| {
        let count = count.min(u32::MAX - 8);
        // Somewhere in the range, or just outside of it.
        let position = (u64::from(place) * u64::from(count)) >> 32;
        let id = (position as i64 + i64::from(first) + 1 + beyond) as u32;
        let backends = Backends::Some(Word::Any(first), Word::Any(count));
        let (affinity, flags) = (Word::Small(0), 0);
        let service = Slot { backends, id: Word::Small(1), affinity, flags };
        one(service, Word::Large(0), vec![to_one(Some((Word::Any(id), hint)), 7, 0)])
    })
}

/// A client with affinity that comes again and again, often just when its time is up.
pub(crate) fn one_client() -> impl Strategy<Value = World> {
    const SECOND: u64 = 1_000_000_000;
    let later = (0..4u64, -1..2i64)
        .prop_map(|(seconds, more)| (seconds * SECOND).saturating_add_signed(more));
    let connect = (any::<u32>(), later).prop_map(|(random, later)| to_one(None, random, later));
    let again = (-2..4i16, 0..24u8, hint()).prop_map(|(idle, backend, hint)| {
        let known = Known { whose: None, idle, backend: Word::Small(backend), hint };
        Step::Change(Change::Affinity { element: 0, to: Some(known) })
    });
    (0..20u8, 1..20u8, 1..4u8, vec(prop_oneof![2 => connect, 1 => again], 1..24)).prop_map(
        |(first, count, affinity, steps)| {
            let backends = Backends::Some(Word::Small(first), Word::Small(count));
            let (id, affinity) = (Word::Small(1), Word::Small(affinity));
            one(Slot { backends, id, affinity, flags: 0 }, Word::Small(40), steps)
        },
    )
}

fn spot() -> impl Strategy<Value = Spot> {
    let anywhere =
        (any::<[u32; 4]>(), any::<u16>()).prop_map(|(words, port)| Spot::Any(words, port));
    prop_oneof![30 => any::<u8>().prop_map(Spot::Known), 1 => anywhere]
}

/// A socket that starts with nothing, or with anything.
pub(crate) fn history() -> impl Strategy<Value = History> {
    let entry = (spot(), spot(), prop::bool::weighted(0.1), any_word())
        .prop_map(|(frontend, backend, free, used)| Entry { frontend, backend, free, used });
    let step = prop_oneof![
        1 => spot().prop_map(origins::Step::Recall),
        2 => (spot(), spot()).prop_map(|(frontend, backend)| origins::Step::Note(frontend, backend)),
        1 => spot().prop_map(origins::Step::Show),
    ];
    let entries = option::weighted(0.3, vec(entry, PEERS));
    (any_word(), any_word(), entries, vec(step, 0..80)).prop_map(
        |(clock, recent, entries, steps)| {
            let entries = entries.map(|all| all.try_into().expect("one for each peer"));
            History { clock, recent, entries, steps }
        },
    )
}
