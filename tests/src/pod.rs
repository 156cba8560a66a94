//! A Pod as far as a connection can tell: a network namespace with one address, reachable from
//! the client's namespace and from nowhere else.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;

use crate::{
    link::{self, End},
    netns::Namespace,
    server::Server,
};

/// The client's address on every link to a Pod.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The Pod with index 0 would have this address.
const BASE: u8 = 10;
/// The interface in the Pod has this index.
const POD_INTERFACE: u32 = 2;

/// Lives until it is dropped; its servers keep its namespace alive.
#[derive(Debug)]
pub struct Pod {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Pod {
    /// Makes a Pod with the address 10.244.0.(10 + `index`), and connects it to the calling
    /// thread's namespace.
    pub(crate) fn create(index: u8) -> Result<Self> {
        let address = Ipv4Addr::new(10, 244, 0, BASE + index);
        let namespace = Namespace::new()?;
        let here = End { name: &format!("pod{index}"), index: 100 + u32::from(index) };
        link::veth(&here, &End { name: "eth0", index: POD_INTERFACE }, &namespace)?;
        namespace.run(|| {
            link::up(link::LOOPBACK)?;
            link::up(POD_INTERFACE)?;
            link::wait_until_operational(POD_INTERFACE)?;
            link::point_to_point(POD_INTERFACE, address, CLIENT)
        })?;
        link::wait_until_operational(here.index)?;
        link::point_to_point(here.index, CLIENT, address)?;
        Ok(Self { namespace, address })
    }

    /// Where the Pod is reached.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The Pod's address with `port`, in host byte order.
    pub fn socket(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    /// The Pod's network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Listens on `ports`, each given with the identity that a connection to it receives.
    ///
    /// # Errors
    /// When a port is taken, or there are too few file descriptors.
    pub fn serve(&self, ports: impl IntoIterator<Item = (u16, u16)>) -> Result<Server> {
        let listeners: Vec<_> =
            ports.into_iter().map(|(port, identity)| (self.socket(port), identity)).collect();
        self.namespace.run(|| Server::start(&listeners))
    }
}
