//! Addresses as Kubernetes objects spell them, and which of them cannot be used.
//!
//! This module must never resolve a name or look at an interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address of either family.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    parse_ipv4(text).map(IpAddr::V4).or_else(|| parse_ipv6(text).map(IpAddr::V6))
}

/// Reads a dotted address, with leading zeros taken as decimal ("172.30.0.041" is 172.30.0.41), as
/// old objects in a cluster's store may have them and kube-proxy still reads them.
pub(super) fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        // `u8::from_str` would take a sign as well.
        if !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Reads an IPv6 address in any of its notations. A zone, as in "fe80::1%eth0", is none of an
/// object's.
pub(super) fn parse_ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok()
}

/// Why an address may be neither a frontend nor a backend, if so.
///
/// Most of these mean something else in every network namespace, so a socket sent there would
/// reach the client's own namespace or its cloud provider's metadata service instead of a Pod. An
/// IPv4-mapped address would be both families at once: sockets and hooks treat it as IPv4.
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    let (link_local, unspecified, broadcast, mapped) = match address {
        IpAddr::V4(address) => {
            (address.is_link_local(), address.octets()[0] == 0, address.is_broadcast(), false)
        }
        IpAddr::V6(address) => (
            address.is_unicast_link_local(),
            address.is_unspecified(),
            false,
            address.to_ipv4_mapped().is_some(),
        ),
    };
    if mapped {
        Some("it is an IPv4 address in the notation of IPv6")
    } else if address.is_loopback() {
        Some("it is a loopback address")
    } else if link_local {
        Some("it is a link-local address")
    } else if unspecified {
        Some("it is an unspecified address")
    } else if address.is_multicast() || broadcast {
        Some("it is a multicast or broadcast address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_8_leading_zeros_are_decimal() {
        for text in ["172.30.0.41", "172.30.0.041", "172.030.000.0041"] {
            assert_eq!(parse(text), Some(Ipv4Addr::new(172, 30, 0, 41).into()), "{text}");
        }
    }

    #[test]
    fn point_8_every_notation_of_ipv6_is_one_address() {
        for text in
            ["fd00::a", "FD00::A", "fd00:0:0:0:0:0:0:a", "fd00:0000::000a", "fd00::0.0.0.10"]
        {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), Some("fd00::a"));
        }
    }

    #[test]
    fn anything_else_is_rejected() {
        for text in [
            "",
            "None",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "+1.2.3.4",
            "1..2.3",
            "fd00",
            "[::1]",
            "fe80::1%eth0",
            "::1::",
            "10.0.0.1/32",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn point_18a_addresses_of_no_pod_are_unusable() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(unusable(parse(text).unwrap()).is_some(), "{text}");
        }
        for text in [
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "8.8.8.8",
            "fd00::1",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(unusable(parse(text).unwrap()).is_none(), "{text}");
        }
    }
}
