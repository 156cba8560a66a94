//! IPv4 and IPv6 as types: what differs between them, for code that is written once.
//!
//! Nothing here may depend on a table's content.

use crate::{
    layout::{Backend4, Backend6, CIDRS, Cidr4, Cidr6, FrontendKey4, FrontendKey6, PROTOCOL_ANY},
    select::Client,
};

/// An address family.
pub trait Family {
    /// Key of the family's frontends.
    type Key: Copy;
    /// Entry of the family's backends.
    type Backend: Copy;

    /// The digest that stands beside the key's slot.
    fn tag(key: &Self::Key) -> u32;

    /// The key of the address as a whole.
    fn marker(key: &Self::Key) -> Self::Key;

    /// The backend's id.
    fn id(backend: &Self::Backend) -> u32;

    /// Whether the key's address lies in one of the Service CIDRs.
    fn is_in_service_cidr<C: Client>(client: &C, key: &Self::Key) -> bool;
}

/// IPv4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V4 {}

/// IPv6
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V6 {}

impl Family for V4 {
    type Key = FrontendKey4;
    type Backend = Backend4;

    #[inline(always)]
    fn tag(key: &FrontendKey4) -> u32 {
        key.tag()
    }

    #[inline(always)]
    fn marker(key: &FrontendKey4) -> FrontendKey4 {
        FrontendKey4::new(key.address, 0, PROTOCOL_ANY)
    }

    #[inline(always)]
    fn id(backend: &Backend4) -> u32 {
        backend.id
    }

    #[inline(always)]
    fn is_in_service_cidr<C: Client>(client: &C, key: &FrontendKey4) -> bool {
        let count = client.switches().cidr_count4;
        let address = u32::from_ne_bytes(key.address);
        for index in 0..CIDRS as u16 {
            if index >= count {
                break;
            }
            let Cidr4 { address: prefix, mask } = client.cidr4(index);
            if address & u32::from_ne_bytes(mask) == u32::from_ne_bytes(prefix) {
                return true;
            }
        }
        false
    }
}

impl Family for V6 {
    type Key = FrontendKey6;
    type Backend = Backend6;

    #[inline(always)]
    fn tag(key: &FrontendKey6) -> u32 {
        key.tag()
    }

    #[inline(always)]
    fn marker(key: &FrontendKey6) -> FrontendKey6 {
        FrontendKey6::new(key.address, 0, PROTOCOL_ANY)
    }

    #[inline(always)]
    fn id(backend: &Backend6) -> u32 {
        backend.id
    }

    #[inline(always)]
    fn is_in_service_cidr<C: Client>(client: &C, key: &FrontendKey6) -> bool {
        let count = client.switches().cidr_count6;
        let address = u128::from_ne_bytes(key.address);
        for index in 0..CIDRS as u16 {
            if index >= count {
                break;
            }
            let Cidr6 { address: prefix, mask } = client.cidr6(index);
            if address & u128::from_ne_bytes(mask) == u128::from_ne_bytes(prefix) {
                return true;
            }
        }
        false
    }
}
