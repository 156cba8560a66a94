//! The networks that ClusterIPs are given from, as the programs compare them.
//!
//! What is inside of them and no Service's is refused, so this module must never take a network that
//! holds anything else for certain.

use ipnet::IpNet;
use lb_common::layout::{CIDRS, Cidr4, Cidr6};
use thiserror::Error;

/// The shortest prefixes of a Service network.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 32;

/// Service networks of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNetworks {
    /// Those of IPv4, four at most.
    pub cidrs4: Vec<Cidr4>,
    /// Those of IPv6, four at most.
    pub cidrs6: Vec<Cidr6>,
}

/// Why networks cannot be those of Services.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworksError {
    /// The programs have room for a few.
    #[error("{count} {family} networks: at most {CIDRS} can be known")]
    TooMany {
        /// How many there are.
        count: usize,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// It would refuse what is no Service's.
    #[error(
        "{network} is no network of ClusterIPs: a prefix of /{shortest} or longer is needed for \
         {family}"
    )]
    TooWide {
        /// The network.
        network: IpNet,
        /// The shortest prefix that is taken, in bits.
        shortest: u8,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// It is every namespace's own.
    #[error("{0} is the loopback network")]
    Loopback(IpNet),
}

impl ServiceNetworks {
    /// Takes networks, of both families in any order.
    ///
    /// # Errors
    /// When one of them is no network of ClusterIPs, or there are too many.
    pub fn new(networks: &[IpNet]) -> Result<Self, NetworksError> {
        let mut known = Self::default();
        for &network in networks {
            let (shortest, family) = match network {
                IpNet::V4(network) => {
                    let (address, mask) = (network.network().octets(), network.netmask().octets());
                    known.cidrs4.push(Cidr4 { address, mask });
                    (SHORTEST_V4, "IPv4")
                }
                IpNet::V6(network) => {
                    let (address, mask) = (network.network().octets(), network.netmask().octets());
                    known.cidrs6.push(Cidr6 { address, mask });
                    (SHORTEST_V6, "IPv6")
                }
            };
            if network.prefix_len() < shortest {
                return Err(NetworksError::TooWide { network, shortest, family });
            }
            if network.addr().is_loopback() {
                return Err(NetworksError::Loopback(network));
            }
        }
        for (count, family) in [(known.cidrs4.len(), "IPv4"), (known.cidrs6.len(), "IPv6")] {
            if count > CIDRS {
                return Err(NetworksError::TooMany { count, family });
            }
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Result<ServiceNetworks, NetworksError> {
        let networks: Vec<_> = text.split_whitespace().map(|text| text.parse().unwrap()).collect();
        ServiceNetworks::new(&networks)
    }

    #[test]
    fn both_families_are_taken_without_host_bits() {
        let known = networks("10.96.1.2/12 fd00::7/112").unwrap();
        assert_eq!(known.cidrs4, [Cidr4 { address: [10, 96, 0, 0], mask: [255, 240, 0, 0] }]);
        assert_eq!((known.cidrs6[0].address[15], known.cidrs6[0].mask[13]), (0, 255));
    }

    #[test]
    fn what_would_refuse_others_traffic_is_not_taken() {
        for (text, expected) in [
            ("0.0.0.0/0", "0.0.0.0/0 is no network of ClusterIPs: a prefix of /8"),
            ("::/0", "a prefix of /32 or longer is needed for IPv6"),
            ("127.0.0.0/8", "127.0.0.0/8 is the loopback network"),
            ("10.1.0.0/16 10.2.0.0/16 10.3.0.0/16 10.4.0.0/16 10.5.0.0/16", "5 IPv4 networks"),
        ] {
            let error = networks(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
