//! IPv4 addresses as Kubernetes objects spell them.
//!
//! This module must never resolve a name or look at an interface.

use std::net::Ipv4Addr;

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

/// Why an address may be neither a frontend nor a backend, if so.
///
/// Each of these means something else in every network namespace, so a socket sent there would
/// reach the client's own namespace or its cloud provider's metadata service instead of a Pod.
pub(super) fn unusable(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("it is a loopback address")
    } else if address.is_link_local() {
        Some("it is a link-local address")
    } else if address.octets()[0] == 0 {
        Some("it is an unspecified address")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("it is a multicast or broadcast address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_decimal() {
        for text in ["172.30.0.41", "172.30.0.041", "172.030.000.0041"] {
            assert_eq!(parse_ipv4(text), Some(Ipv4Addr::new(172, 30, 0, 41)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_rejected() {
        for text in ["", "None", "1.2.3", "1.2.3.4.5", "1.2.3.256", "+1.2.3.4", "1..2.3", "::1"] {
            assert_eq!(parse_ipv4(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_of_no_pod_are_unusable() {
        for text in ["127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "0.1.2.3"] {
            assert!(unusable(parse_ipv4(text).unwrap()).is_some(), "{text}");
        }
        for text in ["224.0.0.1", "239.255.255.255", "255.255.255.255"] {
            assert!(unusable(parse_ipv4(text).unwrap()).is_some(), "{text}");
        }
        for text in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8"] {
            assert!(unusable(parse_ipv4(text).unwrap()).is_none(), "{text}");
        }
    }
}
