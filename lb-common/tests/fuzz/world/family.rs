//! Both families, for code that is written once: keys from destinations, and backends that say
//! which entry they are.

use lb_common::{
    Backend4, Backend6, Family, FrontendKey4, FrontendKey6, Octets, Place, Selected, Selection, V4,
    V6,
};

use super::spec::Target;

/// An address, port and protocol. The address is padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) address: [u8; 16],
    pub(crate) port: u16,
    pub(crate) protocol: u8,
}

impl Destination {
    pub(crate) fn marker(&self) -> Self {
        Self { port: 0, protocol: 0, ..*self }
    }
}

pub(crate) trait Sample: Family {
    /// Bits of an address.
    const BITS: u8;
    /// Which of two tables is the family's.
    const INDEX: usize;

    fn destination(target: &Target) -> Destination;
    fn key(destination: &Destination) -> Self::Key;
    fn of_key(key: &Self::Key) -> Destination;
    fn backend(index: u32, id: u32) -> Self::Backend;
    /// Which entry a backend was read from.
    fn index(backend: &Self::Backend) -> u32;
    fn place(destination: &Destination) -> Place;
    fn backend_place(backend: &Self::Backend) -> Place;
}

/// Which entry a backend was read from, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) index: u32,
    pub(crate) id: u32,
}

/// The selection, whatever family it is of.
pub(crate) fn plain<F: Sample>(selection: &Selection<F::Backend>) -> Selection<Entry> {
    match selection {
        Selection::Backend(Selected { backend, slot, service, position }) => {
            let backend = Entry { index: F::index(backend), id: F::id(backend) };
            let (slot, service, position) = (*slot, *service, *position);
            Selection::Backend(Selected { backend, slot, service, position })
        }
        Selection::NotAFrontend => Selection::NotAFrontend,
        Selection::NoBackend => Selection::NoBackend,
        Selection::Unserved => Selection::Unserved,
        Selection::Unsettled => Selection::Unsettled,
        Selection::Corrupt => Selection::Corrupt,
    }
}

fn padded(octets: &[u8]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..octets.len()].copy_from_slice(octets);
    address
}

fn first_four(address: [u8; 16]) -> [u8; 4] {
    let [a, b, c, d, ..] = address;
    [a, b, c, d]
}

impl Sample for V4 {
    const BITS: u8 = 32;
    const INDEX: usize = 0;

    fn destination(target: &Target) -> Destination {
        let address = padded(&first_four(target.address.octets()));
        Destination { address, port: target.port, protocol: target.kind.protocol() }
    }

    fn key(to: &Destination) -> FrontendKey4 {
        FrontendKey4::new(first_four(to.address), to.port, to.protocol)
    }

    fn of_key(key: &FrontendKey4) -> Destination {
        Destination { address: padded(&key.address), port: key.port, protocol: key.protocol }
    }

    fn backend(index: u32, id: u32) -> Backend4 {
        Backend4 { address: index.to_be_bytes(), port: 1, flags: 0, id, reserved: 0 }
    }

    fn index(backend: &Backend4) -> u32 {
        u32::from_be_bytes(backend.address)
    }

    fn place(to: &Destination) -> Place {
        Place { address: Octets::v4(first_four(to.address)), port: to.port }
    }

    fn backend_place(backend: &Backend4) -> Place {
        Place { address: Octets::v4(backend.address), port: backend.port }
    }
}

impl Sample for V6 {
    const BITS: u8 = 128;
    const INDEX: usize = 1;

    fn destination(target: &Target) -> Destination {
        let address = target.address.octets();
        Destination { address, port: target.port, protocol: target.kind.protocol() }
    }

    fn key(to: &Destination) -> FrontendKey6 {
        FrontendKey6::new(to.address, to.port, to.protocol)
    }

    fn of_key(key: &FrontendKey6) -> Destination {
        Destination { address: key.address, port: key.port, protocol: key.protocol }
    }

    fn backend(index: u32, id: u32) -> Backend6 {
        Backend6 { address: padded(&index.to_be_bytes()), port: 1, flags: 0, id }
    }

    fn index(backend: &Backend6) -> u32 {
        u32::from_be_bytes(first_four(backend.address))
    }

    fn place(to: &Destination) -> Place {
        Place { address: Octets::v6(to.address), port: to.port }
    }

    fn backend_place(backend: &Backend6) -> Place {
        Place { address: Octets::v6(backend.address), port: backend.port }
    }
}
