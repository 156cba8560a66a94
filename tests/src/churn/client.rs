//! The clients of a churn: each connects or sends, one after the other, and judges whom it met.
//!
//! What a client may meet must never be less than what was in force while it chose: the log is
//! asked before and after.

use std::{
    collections::HashMap,
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use lb_userspace::model::Protocol;

use super::{GUEST, GUESTS, PODS, Random, guest_line, line::Line, log::Log};
use crate::{client, exchange::Way, socket::Socket};

/// Datagrams that a socket sends before another takes its place.
const USES: u32 = 16;

/// What all clients did until now, as in a [`Report`](super::Report).
#[derive(Default)]
pub(super) struct Counts {
    pub(super) connects: AtomicU64,
    pub(super) datagrams: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) wrong_backends: AtomicU64,
    pub(super) guests: AtomicU64,
}

pub(super) struct Client<'a> {
    log: &'a Log,
    lines: &'a [Line],
    random: Random,
    counts: &'a Counts,
    /// Unconnected sockets, by position of their line, with how often they were used.
    senders: HashMap<usize, (Socket, u32)>,
}

impl<'a> Client<'a> {
    pub(super) fn new(log: &'a Log, lines: &'a [Line], counts: &'a Counts, random: Random) -> Self {
        Self { log, lines, random, counts, senders: HashMap::new() }
    }

    /// Goes on until told to stop.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        for number in 0u64.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let judged =
                if number % 4 == 3 { self.reach_a_guest() } else { self.reach_a_steady_one() };
            match judged {
                Ok(true) => {}
                Ok(false) => count(&self.counts.wrong_backends),
                Err(error) => {
                    // The first few tell enough.
                    if self.counts.failures.load(Ordering::Relaxed) < 3 {
                        eprintln!("a client failed: {error}");
                    }
                    count(&self.counts.failures);
                }
            }
        }
    }

    /// Whether the backend was in a set that was in force meanwhile.
    fn reach_a_steady_one(&mut self) -> io::Result<bool> {
        let index = self.random.below(self.lines.len() as u64) as usize;
        let first = self.log.ended();
        let (identity, union) = if self.lines[index].protocol == Protocol::Tcp {
            count(&self.counts.connects);
            let connection = client::connect(self.lines[index].vip(), client::TIMEOUT)?;
            let union = self.log.union_since(first);
            (connection.identity()?, union)
        } else if self.random.below(4) == 0 {
            count(&self.counts.datagrams);
            self.connected(self.lines[index], first)?
        } else {
            count(&self.counts.datagrams);
            self.unconnected(index, first)?
        };
        Ok(identity < u16::from(PODS) && union >> identity & 1 == 1)
    }

    /// Sends on a socket of its own, which is connected before. Returns who answered, and the sets
    /// that were in force meanwhile.
    fn connected(&self, line: Line, first: u64) -> io::Result<(u16, u64)> {
        let socket = Socket::udp(line.family)?;
        socket.connect(line.vip())?;
        let union = self.log.union_since(first);
        socket.send(b"?")?;
        Ok((answer(&socket, line)?, union))
    }

    /// Sends on a socket that is not connected, and that may have sent before.
    fn unconnected(&mut self, index: usize, first: u64) -> io::Result<(u16, u64)> {
        let line = self.lines[index];
        let (socket, uses) = match self.senders.remove(&index) {
            Some((socket, uses)) if uses < USES => (socket, uses + 1),
            _ => (Socket::udp(line.family)?, 1),
        };
        socket.send_to(b"?", line.vip())?;
        let union = self.log.union_since(first);
        let identity = answer(&socket, line)?;
        self.senders.insert(index, (socket, uses));
        Ok((identity, union))
    }

    /// Whether a guest's own backends were reached, or none because the guest is away: then the
    /// address is no frontend, and there is no route to it.
    fn reach_a_guest(&mut self) -> io::Result<bool> {
        let guest = self.random.below(GUESTS.into()) as u8;
        let line = guest_line(self.lines, guest);
        let vip = line.guest_vip(guest);
        let outcome = if line.protocol == Protocol::Tcp {
            count(&self.counts.connects);
            client::connect(vip, client::TIMEOUT).and_then(client::Connection::identity)
        } else {
            count(&self.counts.datagrams);
            let asked = Socket::udp(line.family)?.ask(Way::SendTo, b"?", vip);
            asked.map(|answer| answer.identity).map_err(Into::into)
        };
        match outcome {
            Ok(identity) => {
                count(&self.counts.guests);
                Ok(identity == GUEST + u16::from(guest))
            }
            Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Who answers to the datagram on its way. The answer has to come from the Service.
fn answer(socket: &Socket, line: Line) -> io::Result<u16> {
    let answer = socket.receive_from()?;
    if answer.source == Some(line.vip()) {
        return Ok(answer.identity);
    }
    Err(io::Error::other(format!("{:?} answered instead of {}", answer.source, line.vip())))
}
