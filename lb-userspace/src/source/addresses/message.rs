//! What an address message of rtnetlink says (`struct ifaddrmsg` and its attributes, rtnetlink(7)).
//!
//! Only three attributes are read, by hand: an attribute of a newer kernel, or an interface with an
//! odd name, must never make an address invisible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NlaBuffer, NlasIterator, parse_u32};

/// RTM_NEWADDR and RTM_DELADDR.
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const GONE_ADDRESS: u16 = 21;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

/// The kernel is still finding out whether the address is taken (duplicate address detection),
const TENTATIVE: u32 = 0x40;
/// but lets it be used meanwhile.
const OPTIMISTIC: u32 = 0x04;
/// It is taken.
const DUPLICATE: u32 = 0x08;

/// An address on an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    /// The interface.
    pub(super) index: u32,
    /// The node's own address; on a point-to-point link not its peer's.
    pub(super) address: IpAddr,
    /// Whether the kernel lets it be used.
    pub(super) usable: bool,
}

impl Assigned {
    /// Reads what follows the netlink header. `None` if it is of another family than IPv4 and IPv6,
    /// or malformed.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (header, attributes) = payload.split_at_checked(8)?;
        let mut flags = u32::from(header[2]);
        let index = parse_u32(&header[4..]).ok()?;
        let (mut local, mut address) = (None, None);
        for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
            match attribute.kind() {
                IFA_LOCAL => local = ip(&attribute),
                IFA_ADDRESS => address = ip(&attribute),
                IFA_FLAGS => flags = parse_u32(attribute.value()).ok()?,
                _ => {}
            }
        }
        // On a point-to-point link IFA_ADDRESS is the peer's. IPv6 has IFA_LOCAL only there.
        let address = local.or(address)?;
        let unsure = flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0;
        Some(Self { index, address, usable: flags & DUPLICATE == 0 && !unsure })
    }

    /// Whether a client could mean the node by it.
    pub(super) fn counts(&self) -> bool {
        let scoped = match self.address {
            IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
            IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
        };
        self.usable && !scoped && !self.address.is_unspecified() && !self.address.is_multicast()
    }
}

fn ip(attribute: &NlaBuffer<&[u8]>) -> Option<IpAddr> {
    let value = attribute.value();
    let v4 = || <[u8; 4]>::try_from(value).ok().map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message on interface 7.
    fn message(flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![2, 32, flags, 0];
        bytes.extend(7u32.to_ne_bytes());
        for (kind, value) in attributes {
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn address(attributes: &[(u16, &[u8])]) -> Option<String> {
        Assigned::read(&message(0, attributes)).map(|found| found.address.to_string())
    }

    #[test]
    fn the_nodes_end_of_a_link_counts() {
        let (own, peer) = ((IFA_LOCAL, &[10, 0, 0, 1][..]), (IFA_ADDRESS, &[10, 0, 0, 2][..]));
        assert_eq!(address(&[peer, own]).as_deref(), Some("10.0.0.1"));
        assert_eq!(address(&[peer]).as_deref(), Some("10.0.0.2"), "as IPv6 has it");
        let v6 = Ipv6Addr::LOCALHOST.octets();
        assert_eq!(address(&[(IFA_ADDRESS, &v6)]).as_deref(), Some("::1"));
    }

    #[test]
    fn unknown_attributes_do_no_harm_and_malformed_messages_neither() {
        let own = (IFA_LOCAL, &[10, 0, 0, 1][..]);
        assert!(address(&[(3, b"\xff\xff\0"), (999, &[1; 7]), own]).is_some());
        assert!(address(&[]).is_none());
        assert!(address(&[(IFA_LOCAL, &[1; 5])]).is_none());
        let whole = message(0, &[own]);
        for length in 0..whole.len() {
            assert_eq!(Assigned::read(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn an_address_counts_once_it_is_known_to_be_the_nodes_alone() {
        let v6 = "fd00::1".parse::<Ipv6Addr>().unwrap().octets();
        let counts = |short: u8, long: Option<u32>| {
            let long = long.map(u32::to_ne_bytes);
            let mut attributes = vec![(IFA_ADDRESS, &v6[..])];
            attributes.extend(long.as_ref().map(|long| (IFA_FLAGS, &long[..])));
            Assigned::read(&message(short, &attributes)).unwrap().counts()
        };
        assert!(counts(0x80, None));
        assert!(!counts(0xc0, None));
        assert!(!counts(0x80, Some(0xc0)), "the attribute overrides the header");
        assert!(counts(0xc0, Some(0x280)));
        assert!(counts(0, Some(TENTATIVE | OPTIMISTIC)));
        assert!(!counts(0, Some(DUPLICATE)) && !counts(0, Some(DUPLICATE | OPTIMISTIC)));
    }

    #[test]
    fn addresses_that_mean_something_else_on_every_node_do_not_count() {
        let counts = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            Assigned { index: 1, address, usable: true }.counts()
        };
        for text in ["127.0.0.1", "127.8.8.8", "::1", "169.254.20.10", "fe80::1", "0.0.0.0", "::"] {
            assert!(!counts(text), "{text}");
        }
        for text in ["10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "2001:db8::1", "fec0::1"] {
            assert!(counts(text), "{text}");
        }
    }
}
