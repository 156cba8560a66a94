//! Which endpoints of a Service receive connections.
//!
//! This module must never keep anything: it is a function of slices, port, policy and place.

use std::cmp::Reverse;

use super::{Backends, Protocol, endpoint::Endpoint, family::Address, slice::Slice};

/// One address and port, with the endpoint that it stands for.
struct Candidate<'a, A: Address> {
    address: A::Socket,
    endpoint: &'a Endpoint<A>,
    slice: &'a Slice,
}

/// The endpoints of one family behind one Service port, sorted by address and port, each once.
pub(super) struct Candidates<'a, A: Address>(Vec<Candidate<'a, A>>);

impl<'a, A: Address> Candidates<'a, A> {
    /// The union over all slices, which are sorted by name. Of duplicates the one that is most able
    /// to serve stays; between equals the first slice decides, whatever came first.
    pub(super) fn new(slices: &'a [Slice], port_name: &str, protocol: Protocol) -> Self {
        let mut candidates: Vec<Candidate<'a, A>> = slices
            .iter()
            .flat_map(|slice| {
                let ports = slice
                    .ports
                    .iter()
                    .filter(|port| port.protocol == protocol && *port.name == *port_name);
                ports.flat_map(move |port| {
                    A::endpoints(&slice.endpoints).iter().map(move |endpoint| Candidate {
                        address: endpoint.address.socket(port.number),
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
        Self(candidates)
    }

    /// Those that clients anywhere may use, narrowed by topology hints. `zone` is this node's.
    pub(super) fn cluster_wide(&self, zone: Option<&str>) -> Backends {
        let hints = Hints::of(&self.0, zone);
        self.eligible(|candidate| hints.allow(candidate), |_| true)
    }

    /// Those on this node. Hints never narrow the local set.
    pub(super) fn local(&self) -> Backends {
        let local = |candidate: &Candidate<'_, A>| candidate.endpoint.is_local();
        self.eligible(local, local)
    }

    /// Those with which an established exchange may go on, whoever receives new ones.
    pub(super) fn serving(&self) -> Backends {
        self.collect(|Candidate { endpoint, .. }| endpoint.is_ready() || endpoint.is_serving())
    }

    /// The ready ones among `ready`; where there is none, connections to the last Pods of a Service
    /// go on while these drain, to those among `draining`.
    fn eligible(
        &self,
        ready: impl Fn(&Candidate<'a, A>) -> bool,
        draining: impl Fn(&Candidate<'a, A>) -> bool,
    ) -> Backends {
        let chosen = self.collect(|candidate| candidate.endpoint.is_ready() && ready(candidate));
        if !chosen.is_empty() {
            return chosen;
        }
        self.collect(|candidate| {
            let endpoint = candidate.endpoint;
            endpoint.is_serving() && endpoint.is_terminating() && draining(candidate)
        })
    }

    fn collect(&self, chosen: impl Fn(&Candidate<'a, A>) -> bool) -> Backends {
        let chosen = self.0.iter().filter(|candidate| chosen(candidate));
        A::backends(chosen.map(|candidate| candidate.address).collect())
    }
}

/// Which topology hints apply.
enum Hints<'z> {
    Ignored,
    Node,
    Zone(&'z str),
}

impl<'z> Hints<'z> {
    /// Hints apply only if every ready endpoint has one and one of them names this place, so that
    /// a half-written set of hints can never leave a node without endpoints.
    fn of<A: Address>(candidates: &[Candidate<'_, A>], zone: Option<&'z str>) -> Self {
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

    fn allow<A: Address>(&self, candidate: &Candidate<'_, A>) -> bool {
        match self {
            Self::Ignored => true,
            Self::Node => candidate.endpoint.is_hinted_for_node(),
            Self::Zone(zone) => candidate.slice.is_hinted_for_zone(candidate.endpoint, zone),
        }
    }
}
