//! A node made of plain memory, which notes what is asked of it.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use netlink_packet_sock_diag::inet::SocketId;

use super::{
    CloseError,
    node::{Diag, Family, Node, Place, Socket},
};
use crate::netns::{NamespaceError, Search};

/// A node whose handles all mean the same one.
#[derive(Clone, Default)]
pub(super) struct FakeNode {
    pub(super) state: Rc<RefCell<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) namespaces: Vec<FakeNamespace>,
    /// Whether namespaces have cookies that can be asked for.
    pub(super) without_cookies: bool,
    /// Errors of searches, of opening a namespace by its cookie, of lists by protocol, of closing.
    pub(super) search_error: Option<(Search, i32)>,
    pub(super) open_error: Option<(u64, i32)>,
    pub(super) list_error: Option<(u8, i32)>,
    pub(super) destroy_error: Option<i32>,
    pub(super) searches: Vec<Search>,
    /// Inode of the namespace, protocol, family.
    pub(super) lists: Vec<(u64, u8, Family)>,
    pub(super) destroyed: Vec<u64>,
    pub(super) refused: usize,
}

pub(super) struct FakeNamespace {
    pub(super) inode: u64,
    pub(super) hidden: bool,
    pub(super) sockets: Vec<Socket>,
}

/// Inode and cookie of a namespace differ by this.
const INODE: u64 = 4000;

impl FakeNode {
    /// Adds a namespace with the cookie `cookie`.
    pub(super) fn with(self, cookie: u64, sockets: Vec<Socket>) -> Self {
        let namespace = FakeNamespace { inode: INODE + cookie, hidden: false, sockets };
        self.state.borrow_mut().namespaces.push(namespace);
        self
    }

    /// Nothing fails from now on.
    pub(super) fn recover(&self) {
        let mut state = self.state.borrow_mut();
        (state.search_error, state.open_error) = (None, None);
        (state.list_error, state.destroy_error) = (None, None);
    }

    /// Sockets that were closed, by their cookies in ascending order.
    pub(super) fn destroyed(&self) -> Vec<u64> {
        let mut destroyed = self.state.borrow().destroyed.clone();
        destroyed.sort_unstable();
        destroyed
    }

    /// What was listed, in order: cookie of the namespace, protocol, family.
    pub(super) fn lists(&self) -> Vec<(u64, u8, Family)> {
        let lists = self.state.borrow();
        lists
            .lists
            .iter()
            .map(|&(inode, protocol, family)| (inode - INODE, protocol, family))
            .collect()
    }
}

/// A socket of `family` that is connected to `peer`, from a port of its own.
pub(super) fn socket(cookie: u64, family: Family, protocol: u8, peer: &str) -> Socket {
    let peer: SocketAddr = peer.parse().unwrap();
    let mut id = match family {
        Family::Inet => SocketId::new_v4(),
        Family::Inet6 => SocketId::new_v6(),
    };
    id.destination_address = peer.ip();
    id.destination_port = peer.port();
    id.source_port = cookie as u16;
    id.cookie = Socket::cookie_bytes(cookie);
    Socket { family, protocol, id }
}

pub(super) struct FakePlace {
    inode: u64,
    node: FakeNode,
}

impl Node for FakeNode {
    type Place = FakePlace;

    fn namespaces(&mut self, search: Search) -> Result<Vec<FakePlace>, NamespaceError> {
        self.state.borrow_mut().searches.push(search);
        let state = self.state.borrow();
        if let Some((_, error)) = state.search_error.filter(|&(of, _)| of == search) {
            let source = io::Error::from_raw_os_error(error);
            return Err(NamespaceError::Unlisted { path: "/proc".into(), source });
        }
        let shown = state
            .namespaces
            .iter()
            .filter(|namespace| search == Search::Everywhere || !namespace.hidden);
        Ok(shown.map(|shown| FakePlace { inode: shown.inode, node: self.clone() }).collect())
    }
}

impl Place for FakePlace {
    type Diag = Self;

    fn inode(&self) -> u64 {
        self.inode
    }

    fn cookie(&self) -> Option<u64> {
        (!self.node.state.borrow().without_cookies).then_some(self.inode - INODE)
    }

    fn open(&self) -> Result<Self, CloseError> {
        let failing = self.node.state.borrow().open_error;
        match failing.filter(|&(cookie, _)| INODE + cookie == self.inode) {
            Some((_, error)) => Err(CloseError::Netlink(io::Error::from_raw_os_error(error))),
            None => Ok(Self { inode: self.inode, node: self.node.clone() }),
        }
    }
}

impl Diag for FakePlace {
    fn list(
        &mut self,
        family: Family,
        protocol: u8,
        each: &mut dyn FnMut(Socket),
    ) -> io::Result<()> {
        let mut state = self.node.state.borrow_mut();
        state.lists.push((self.inode, protocol, family));
        if let Some((_, error)) = state.list_error.filter(|&(of, _)| of == protocol) {
            return Err(io::Error::from_raw_os_error(error));
        }
        let namespace =
            state.namespaces.iter().find(|namespace| namespace.inode == self.inode).unwrap();
        let listed = namespace
            .sockets
            .iter()
            .filter(|socket| socket.family == family && socket.protocol == protocol);
        listed.cloned().for_each(each);
        Ok(())
    }

    fn destroy(&mut self, socket: &Socket) -> io::Result<()> {
        let mut state = self.node.state.borrow_mut();
        if let Some(error) = state.destroy_error {
            state.refused += 1;
            return Err(io::Error::from_raw_os_error(error));
        }
        let inode = self.inode;
        let namespace =
            state.namespaces.iter_mut().find(|namespace| namespace.inode == inode).unwrap();
        // As the kernel does: by the addresses, then the cookie.
        let addresses = |socket: &Socket| {
            let id = SocketId { cookie: [0; 8], ..socket.id.clone() };
            (socket.family, socket.protocol, format!("{id:?}"))
        };
        let found =
            namespace.sockets.iter().rposition(|other| addresses(other) == addresses(socket));
        let place = found.filter(|place| namespace.sockets[*place] == *socket);
        let place = place.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        namespace.sockets.remove(place);
        state.destroyed.push(socket.cookie());
        Ok(())
    }
}
