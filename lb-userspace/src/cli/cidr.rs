//! Networks on the command line.
//!
//! No IPv4-mapped address may leave here: what is behind compares addresses family by family.

use std::net::IpAddr;

use ipnet::IpNet;

/// A network in CIDR notation, or a single address. Bits beyond the prefix are cleared.
pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(
        |_| "expected an address and a prefix length, as in 10.96.0.0/12 or fd00:10:96::/112",
    )?;
    if let IpAddr::V6(address) = network.addr()
        && address.to_ipv4_mapped().is_some()
    {
        return Err("write an IPv4-mapped address as IPv4".into());
    }
    Ok(network.trunc())
}

/// An address of a host.
pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "expected an IP address")?;
    if address.is_unspecified() || address.is_multicast() {
        return Err("no host can have this address".into());
    }
    Ok(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_truncated() {
        let read = |text| cidr(text).map(|network| network.to_string()).ok();
        assert_eq!(read("10.96.1.2/12").as_deref(), Some("10.96.0.0/12"));
        assert_eq!(read("fd00:10:96::5/112").as_deref(), Some("fd00:10:96::/112"));
        assert_eq!(read("10.0.0.1").as_deref(), Some("10.0.0.1/32"));
        assert_eq!(read("fd00::1").as_deref(), Some("fd00::1/128"));
        assert_eq!(read("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "::ffff:10.0.0.0/104", "lo"] {
            assert!(cidr(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_addresses_that_one_can_have() {
        let read = |text| host(text).map(|address| address.to_string()).ok();
        assert_eq!(read("::ffff:10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(read("fd00::1").as_deref(), Some("fd00::1"));
        for text in ["0.0.0.0", "::", "224.0.0.1", "10.0.0.1/32", "kubernetes"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
