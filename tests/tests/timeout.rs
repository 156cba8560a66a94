//! When session affinity ends: a client was away for the timeout, and what counts as being away.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use lab::{
    Lab,
    exchange::{Means, Way},
    family::{Dual, Family},
    plane::Plane,
    port::{Port, cluster_ip},
    serving::Serving,
    socket::{Errno, Socket},
};

const TIMEOUT: Duration = Duration::from_secs(1);
/// Services of each protocol: that all of them choose the same backend again is a chance of 4⁻²⁰.
const SERVICES: u8 = 20;

/// The Services' addresses; each is served over TCP and UDP by the same four Pods.
fn publish(plane: &mut Plane, serving: &Serving) -> Result<Vec<Dual>> {
    let vips: Vec<_> = (0..SERVICES).map(|index| cluster_ip(100 + index, 80)).collect();
    for (index, vip) in vips.iter().enumerate() {
        for protocol in [Port::tcp, Port::udp] {
            let port = protocol(&format!("lab/web-{index}:http")).at([*vip]);
            let port = port.affinity(TIMEOUT.as_secs() as u32);
            plane.publish(&port.to(serving.everywhere()))?;
        }
    }
    Ok(vips)
}

/// The two families, each of which has its own affinity.
fn families(lab: &Lab) -> Result<impl Iterator<Item = Family> + Clone> {
    Ok(lab.families()?.iter().copied().filter(|&family| family != Family::Mapped))
}

/// Waits until longer than the timeout has passed since.
fn away(since: Instant) {
    while since.elapsed() <= TIMEOUT {
        thread::sleep(TIMEOUT / 10);
    }
}

#[test]
fn point_15_it_ends_when_a_client_was_away_for_the_timeout_and_not_before() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        let vips = publish(&mut plane, &serving)?;
        let kinds = [Means::Tcp, Means::Udp(Way::SendTo)];
        let kinds: Vec<_> =
            families(lab)?.flat_map(|family| kinds.map(|means| (family, means))).collect();
        // When the first system call began, whom each Service led to, by kind of socket, and when the
        // last had ended.
        let ask = || {
            let start = Instant::now();
            let met = kinds.iter().map(|(family, means)| {
                let asks = vips.iter().map(|vip| means.ask(*family, vip.seen_by(*family)));
                asks.map(|met| Ok(met?.identity)).collect::<Result<Vec<_>>>()
            });
            let met = met.collect::<Result<Vec<_>>>();
            met.map(|met| (start, met, Instant::now()))
        };
        // Well longer than the timeout in all, but never away for as long.
        let (first, mut met, mut last) = ask()?;
        let mut since = first;
        while first.elapsed() < 2 * TIMEOUT {
            thread::sleep(TIMEOUT / 10);
            let (begun, next, ended) = ask()?;
            // On a machine that pauses for so long, nothing is promised.
            if ended - since < TIMEOUT {
                assert_eq!(next, met);
            }
            (since, met, last) = (begun, next, ended);
        }
        away(last);
        let (_, after, _) = ask()?;
        for ((kind, met), after) in kinds.iter().zip(&met).zip(&after) {
            assert_ne!(after, met, "{kind:?}: of {SERVICES} Services none leads elsewhere");
        }
        Ok(())
    });
}

#[test]
fn point_15_further_datagrams_of_an_unconnected_socket_do_not_put_the_end_off() {
    lab::isolated(|lab| {
        let serving = Serving::start(lab, 4)?;
        let mut plane = Plane::on(lab)?;
        let vips = publish(&mut plane, &serving)?;
        for family in families(lab)? {
            let sockets = vips.iter().map(|_| Socket::udp(family));
            let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
            let ask = || {
                let asks = sockets.iter().zip(&vips);
                let asks = asks.map(|(socket, vip)| {
                    Ok(socket.ask(Way::SendTo, b"?", vip.seen_by(family))?.identity)
                });
                asks.collect::<Result<Vec<_>, Errno>>()
            };
            let first = ask()?;
            let start = Instant::now();
            while start.elapsed() <= TIMEOUT {
                assert_eq!(ask()?, first, "{family:?}: a socket stays with its backend");
                thread::sleep(TIMEOUT / 10);
            }
            // The last datagrams were just now, and yet the client's other sockets choose anew.
            assert_eq!(ask()?, first, "{family:?}");
            let others = vips
                .iter()
                .map(|vip| Ok(Means::Udp(Way::SendTo).ask(family, vip.seen_by(family))?.identity));
            let others = others.collect::<Result<Vec<_>>>()?;
            assert_ne!(others, first, "{family:?}: of {SERVICES} Services none leads elsewhere");
            // The sockets that are there already heed no choice but their own.
            assert_eq!(ask()?, first, "{family:?}");
        }
        Ok(())
    });
}
