//! Whether node ports and the ports that the kernel gives away by itself are kept apart.
//!
//! This module must never ask a cluster which range it uses.

use std::{fs, ops::RangeInclusive};

/// What `--service-node-port-range` is, unless an API server is told another.
pub(super) const NODE_PORTS: RangeInclusive<u16> = 30000..=32767;

/// Whether no socket that asks for any port in this network namespace gets one of the usual node
/// ports. Not if that cannot be read.
pub(super) fn are_kept_apart() -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    let given = read("ip_local_port_range").and_then(|text| range(&text));
    let reserved = read("ip_local_reserved_ports").and_then(|text| ranges(&text));
    given.zip(reserved).is_some_and(|(given, reserved)| {
        let is_reserved = |port: &u16| reserved.iter().any(|range| range.contains(port));
        !NODE_PORTS.clone().any(|port| given.contains(&port) && !is_reserved(&port))
    })
}

/// The first and the last port, with a blank between them.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = text.split_whitespace().map(str::parse);
    Some(ports.next()?.ok()?..=ports.next()?.ok()?)
}

/// Ports and ranges such as `8080,30000-32767`, or nothing.
fn ranges(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let parts = text.trim().split(',').filter(|part| !part.is_empty());
    let ranges = parts.map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_kernel_writes_them() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(range("32768"), None);
        assert_eq!(ranges("\n"), Some(vec![]));
        assert_eq!(ranges("8080,30000-32767\n"), Some(vec![8080..=8080, 30000..=32767]));
        assert_eq!(ranges("many"), None);
    }
}
