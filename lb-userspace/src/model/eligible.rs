//! Which endpoints of a Service receive connections.
//!
//! This module must never keep anything: it is a function of slices, port, policy and place.

use std::{cmp::Reverse, net::SocketAddrV4};

use super::slice::{Endpoint, Slice};

/// One address and port, with the endpoint that it stands for.
struct Candidate<'a> {
    address: SocketAddrV4,
    endpoint: Endpoint,
    slice: &'a Slice,
}

/// The eligible backends of the port `port_name`, sorted, each once. `local` asks for this node's
/// endpoints alone; `zone` is this node's zone. `slices` are sorted by name.
pub(super) fn backends(
    slices: &[Slice],
    port_name: &str,
    local: bool,
    zone: Option<&str>,
) -> Vec<SocketAddrV4> {
    let mut candidates = candidates(slices, port_name);
    if local {
        // Hints never narrow the local set.
        candidates.retain(|candidate| candidate.endpoint.is_local());
    }
    let hints = if local { Hints::Ignored } else { Hints::of(&candidates, zone) };
    let ready = |candidate: &Candidate<'_>| candidate.endpoint.is_ready() && hints.allow(candidate);
    // Connections to the last Pods of a Service go on while these drain.
    let draining = |candidate: &Candidate<'_>| {
        candidate.endpoint.is_serving() && candidate.endpoint.is_terminating()
    };
    let chosen = addresses(&candidates, ready);
    if chosen.is_empty() { addresses(&candidates, draining) } else { chosen }
}

fn addresses(
    candidates: &[Candidate<'_>],
    chosen: impl Fn(&Candidate<'_>) -> bool,
) -> Vec<SocketAddrV4> {
    let mut addresses: Vec<_> = candidates
        .iter()
        .filter(|candidate| chosen(candidate))
        .map(|candidate| candidate.address)
        .collect();
    addresses.shrink_to_fit();
    addresses
}

/// The union over all slices, sorted by address and port. Of duplicates the one that is most able
/// to serve stays; between equals the first slice by name decides, whatever came first.
fn candidates<'a>(slices: &'a [Slice], port_name: &str) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = slices
        .iter()
        .flat_map(|slice| {
            let ports = slice.ports.iter().filter(|port| *port.name == *port_name);
            ports.flat_map(move |port| {
                slice.endpoints.iter().map(move |&endpoint| Candidate {
                    address: SocketAddrV4::new(endpoint.address, port.number),
                    endpoint,
                    slice,
                })
            })
        })
        .collect();
    candidates.sort_by_key(|Candidate { address, endpoint, .. }| {
        let rank = (
            !endpoint.is_terminating(),
            endpoint.is_ready(),
            endpoint.is_serving(),
            endpoint.is_local(),
        );
        (*address, Reverse(rank))
    });
    candidates.dedup_by_key(|candidate| candidate.address);
    candidates
}

/// Which topology hints apply.
enum Hints<'a> {
    Ignored,
    Node,
    Zone(&'a str),
}

impl<'a> Hints<'a> {
    /// Hints apply only if every ready endpoint has one and one of them names this place, so that
    /// a half-written set of hints can never leave a node without endpoints.
    fn of(candidates: &[Candidate<'_>], zone: Option<&'a str>) -> Self {
        let ready = || candidates.iter().filter(|candidate| candidate.endpoint.is_ready());
        if ready().all(|candidate| candidate.endpoint.has_node_hint())
            && ready().any(|candidate| candidate.endpoint.is_hinted_for_node())
        {
            return Self::Node;
        }
        match zone {
            Some(zone)
                if ready().all(|candidate| candidate.endpoint.has_zone_hint())
                    && ready().any(|candidate| Self::Zone(zone).allow(candidate)) =>
            {
                Self::Zone(zone)
            }
            _ => Self::Ignored,
        }
    }

    fn allow(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Self::Ignored => true,
            Self::Node => candidate.endpoint.is_hinted_for_node(),
            Self::Zone(zone) => candidate.slice.is_hinted_for_zone(candidate.endpoint, zone),
        }
    }
}
