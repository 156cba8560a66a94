//! What a world is made of, as bytes fill it. Small numbers and known addresses are likely, so that
//! tables often fit together; nothing is impossible.

use arbitrary::Arbitrary;
use lb_common::{
    FrontendValue, Range, Service, Switches,
    layout::{CIDRS, PROTOCOL_ANY},
};

/// A number, likely one at an end of its range.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Word {
    Small(u8),
    Large(u8),
    Any(u32),
}

impl Word {
    pub(crate) fn get(self) -> u32 {
        match self {
            Self::Small(number) => number.into(),
            Self::Large(number) => u32::MAX - u32::from(number),
            Self::Any(number) => number,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Address {
    /// Two of these share a prefix of any length.
    Known(u8),
    Any([u8; 16]),
}

impl Address {
    pub(crate) fn octets(self) -> [u8; 16] {
        match self {
            Self::Known(n) => std::array::from_fn(|at| n.rotate_left(at as u32)),
            Self::Any(octets) => octets,
        }
    }
}

/// Where a frontend is, or a socket wants to go. IPv4 takes the first four octets of the address.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) port: u16,
    pub(crate) kind: Kind,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    /// The address as a whole. Sockets have a protocol: for them this is TCP.
    Marker,
}

impl Kind {
    pub(crate) fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Marker => PROTOCOL_ANY,
        }
    }
}

/// A frontend's value; the tag is the right one if it is none in particular.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) slot: Word,
    pub(crate) tag: Option<Word>,
}

impl Value {
    pub(crate) fn value(self, right: u32) -> FrontendValue {
        FrontendValue { slot: self.slot.get(), tag: self.tag.map_or(right, Word::get) }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Frontend {
    pub(crate) six: bool,
    pub(crate) at: Target,
    pub(crate) value: Value,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Backends {
    Gone,
    Pass,
    Empty,
    Some(Word, Word),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) backends: Backends,
    pub(crate) id: Word,
    pub(crate) affinity: Word,
    pub(crate) flags: u8,
}

impl Slot {
    pub(crate) fn service(self) -> Service {
        let range = match self.backends {
            Backends::Gone => Range::GONE,
            Backends::Pass => Range::PASS,
            Backends::Empty => Range::EMPTY,
            Backends::Some(first, count) => Range { first: first.get(), count: count.get() },
        };
        let (id, affinity) = (self.id.get(), self.affinity.get());
        Service { range, id, affinity, flags: self.flags.into(), tag: 0 }
    }
}

/// A table of backends, of any size: the id of the entry at an index is the index times `stride`,
/// plus `base`, but for the odd ones.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct Table {
    pub(crate) size: Word,
    pub(crate) base: Word,
    pub(crate) stride: u8,
    pub(crate) odd: Vec<(Word, Word)>,
}

impl Table {
    /// The id of an entry.
    pub(crate) fn id(&self, index: u32) -> Option<u32> {
        if index >= self.size.get() {
            return None;
        }
        let regular = self.base.get().wrapping_add(index.wrapping_mul(self.stride.into()));
        let odd = self.odd.iter().find(|(at, _)| at.get() == index);
        Some(odd.map_or(regular, |(_, id)| id.get()))
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Cidr {
    pub(crate) address: Address,
    pub(crate) bits: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) refuse: bool,
    pub(crate) opt_outs: bool,
    pub(crate) host_scope: bool,
    pub(crate) cidrs: [u8; 2],
    /// Whether the client's network namespace is opted out.
    pub(crate) opted_out: bool,
}

impl Config {
    pub(crate) fn switches(self) -> Switches {
        let Self { refuse, opt_outs, host_scope, cidrs: [four, six], .. } = self;
        let (cidr_count4, cidr_count6) = (four.into(), six.into());
        Switches { refuse, opt_outs, host_scope, cidr_count4, cidr_count6 }
    }
}

/// What is remembered of a client.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Whose it is: of the client and Service port that were asked for last, or of any.
    pub(crate) whose: Option<(u8, Word)>,
    /// Seconds ago; what was noted by a CPU whose clock is ahead is in the future.
    pub(crate) idle: i16,
    pub(crate) backend: Word,
    pub(crate) hint: Word,
}

/// Something that changes, at once or in the middle of a selection.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Change {
    /// The value of the key that is asked for, or of its marker.
    Frontend {
        marker: bool,
        value: Option<Value>,
    },
    Slot {
        slot: u8,
        to: Slot,
    },
    Table {
        six: bool,
        to: Table,
    },
    Config(Config),
    Cidr {
        six: bool,
        index: u8,
        to: Cidr,
    },
    /// What an element of the affinity table holds, and for whom: elements are given to others.
    Affinity {
        element: u8,
        to: Option<Known>,
    },
    /// Room in the affinity table.
    Room(u8),
}

/// A connect or datagram.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct Request {
    pub(crate) six: bool,
    /// One of the frontends, or anything.
    pub(crate) to: Result<u8, Target>,
    pub(crate) earlier: Option<(Word, Word)>,
    pub(crate) random: Word,
    /// Nanoseconds since the last one.
    pub(crate) later: u64,
    /// Whose socket it is: small numbers are network namespaces.
    pub(crate) netns: u8,
    /// What changes meanwhile, each after so many loads.
    pub(crate) changes: Vec<(u8, Change)>,
}

#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    Connect(Request),
    /// A datagram of a socket that has no peer.
    Send(Request),
    Change(Change),
}

/// Everything.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) host: u8,
    pub(crate) four: Table,
    pub(crate) six: Table,
    pub(crate) cidrs: [[Cidr; CIDRS]; 2],
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) room: u8,
    pub(crate) steps: Vec<Step>,
}
