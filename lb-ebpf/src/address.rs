//! The address in a sock_addr program's context: where a socket is about to connect or send to, or
//! what it is about to be told.
//!
//! The context is no memory but what the verifier makes of each access: only whole fields, one
//! 32-bit word of an IPv6 address at a time, the port with 4 bytes. Accesses are volatile, since the
//! compiler would merge them.

use aya_ebpf::{bindings::bpf_sock, programs::SockAddrContext};
use lb_common::{Octets, Place};

/// `TCP_ESTABLISHED` (include/net/tcp_states.h): the state of a connected UDP socket too.
const ESTABLISHED: u32 = 1;

/// IANA protocol numbers.
pub(crate) const TCP: u32 = 6;
pub(crate) const UDP: u32 = 17;

/// What the hooks see of their context.
pub(crate) trait Address {
    /// The socket's protocol.
    fn protocol(&self) -> u32;
    /// Whether the socket is connected.
    fn is_connected(&self) -> bool;
    /// The peer, of a connected socket in an IPv4 hook.
    fn peer4(&self) -> Option<Place>;
    /// The peer, of a connected socket in an IPv6 hook.
    fn peer6(&self) -> Option<Place>;
    /// The address, of an IPv4 hook.
    fn place4(&self) -> Place;
    /// The address, of an IPv6 hook.
    fn place6(&self) -> Place;
    /// Replaces the address in an IPv4 hook. One that is not of IPv4 cannot be told there.
    fn set_place4(&self, place: &Place);
    /// Replaces the address in an IPv6 hook.
    fn set_place6(&self, place: &Place);
}

impl Address for SockAddrContext {
    #[inline(always)]
    fn protocol(&self) -> u32 {
        // SAFETY: the kernel hands every run a valid bpf_sock_addr, for that run alone.
        unsafe { (&raw const (*self.sock_addr).protocol).read_volatile() }
    }

    #[inline(always)]
    fn is_connected(&self) -> bool {
        connected(self).is_some()
    }

    #[inline(always)]
    fn peer4(&self) -> Option<Place> {
        let socket = connected(self)?;
        // SAFETY: as in `connected`.
        let address = unsafe { (&raw const (*socket).dst_ip4).read_volatile() };
        Some(Place { address: Octets::v4(address.to_ne_bytes()), port: port_of_peer(socket) })
    }

    #[inline(always)]
    fn peer6(&self) -> Option<Place> {
        let socket = connected(self)?;
        // SAFETY: as in `connected`.
        let words = unsafe {
            let word = &raw const (*socket).dst_ip6 as *const u32;
            [
                word.read_volatile(),
                word.add(1).read_volatile(),
                word.add(2).read_volatile(),
                word.add(3).read_volatile(),
            ]
        };
        Some(Place { address: Octets { words }, port: port_of_peer(socket) })
    }

    #[inline(always)]
    fn place4(&self) -> Place {
        // SAFETY: as in `protocol`.
        let (address, port) = unsafe {
            (
                (&raw const (*self.sock_addr).user_ip4).read_volatile(),
                (&raw const (*self.sock_addr).user_port).read_volatile(),
            )
        };
        Place { address: Octets::v4(address.to_ne_bytes()), port: u16::from_be(port as u16) }
    }

    #[inline(always)]
    fn place6(&self) -> Place {
        // SAFETY: as in `protocol`.
        let (words, port) = unsafe {
            let word = &raw const (*self.sock_addr).user_ip6 as *const u32;
            (
                [
                    word.read_volatile(),
                    word.add(1).read_volatile(),
                    word.add(2).read_volatile(),
                    word.add(3).read_volatile(),
                ],
                (&raw const (*self.sock_addr).user_port).read_volatile(),
            )
        };
        Place { address: Octets { words }, port: u16::from_be(port as u16) }
    }

    #[inline(always)]
    fn set_place4(&self, place: &Place) {
        let Some(octets) = place.address.as_v4() else { return };
        // SAFETY: as in `protocol`; both fields may be written in every hook that calls this.
        unsafe {
            (&raw mut (*self.sock_addr).user_ip4).write_volatile(u32::from_ne_bytes(octets));
            (&raw mut (*self.sock_addr).user_port).write_volatile(place.port.to_be().into());
        }
    }

    #[inline(always)]
    fn set_place6(&self, place: &Place) {
        let [first, second, third, last] = place.address.words;
        // SAFETY: as above.
        unsafe {
            let word = &raw mut (*self.sock_addr).user_ip6 as *mut u32;
            word.write_volatile(first);
            word.add(1).write_volatile(second);
            word.add(2).write_volatile(third);
            word.add(3).write_volatile(last);
            (&raw mut (*self.sock_addr).user_port).write_volatile(place.port.to_be().into());
        }
    }
}

/// The context's socket, if it is connected.
#[inline(always)]
fn connected(ctx: &SockAddrContext) -> Option<*const bpf_sock> {
    // SAFETY: as in `protocol`; the hooks that ask for it are never run without a socket.
    let socket = unsafe { (&raw const (*ctx.sock_addr).__bindgen_anon_1.sk).read_volatile() };
    // SAFETY: the verifier knows the pointer for the socket, and checks the access.
    let is =
        !socket.is_null() && unsafe { (&raw const (*socket).state).read_volatile() } == ESTABLISHED;
    is.then_some(socket.cast_const())
}

/// In host byte order. The field has four bytes before Linux 5.18, and may be read as such after.
#[inline(always)]
fn port_of_peer(socket: *const bpf_sock) -> u16 {
    // SAFETY: as in `connected`.
    let port = unsafe { (&raw const (*socket).dst_port).cast::<u32>().read_volatile() };
    u16::from_be(port as u16)
}
