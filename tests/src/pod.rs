//! A Pod as far as a socket can tell: a network namespace with an address of each family, reachable
//! from the client's namespace and, through that, from other Pods.
//!
//! What a Pod sends to anywhere else must never leave the laboratory: the client's namespace, to
//! which it may go, has routes to Pods alone.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    process::{Child, Command},
};

use anyhow::Result;

use crate::{
    family::Dual,
    link::{self, End},
    netns::Namespace,
    server::{Port, Server, Service},
};

/// The client's IPv4 address on every link to a Pod.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The client's IPv6 address on every link to a Pod.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1);
/// The client's and the Pod's link-local address, the same on every link.
const CLIENT_ON_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const POD_ON_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// All Pods, and the client.
const NETWORK: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(10, 244, 0, 0)), 24);
const NETWORK6: (IpAddr, u8) = (IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0)), 64);
/// The addresses of the Pod with index 0 would end so.
const BASE: u8 = 10;
/// The interface in the Pod has this index; the one that leads to Pod 0 the next one. The kernel may put
/// interfaces of its own into a new namespace (net.core.fb_tunnels_only_for_init_net), counted from 2.
const POD_INTERFACE: u32 = 1000;

/// The addresses of the Pod with this index, with a port.
pub(crate) const fn place(index: u8, port: u16) -> Dual {
    let number = BASE + index;
    let last = number as u16;
    let address = Ipv4Addr::new(10, 244, 0, number);
    Dual::new(address, Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, last), port)
}

/// Lives until it is dropped; its servers keep its namespace alive.
#[derive(Debug)]
pub struct Pod {
    namespace: Namespace,
    address: Ipv4Addr,
    address6: Ipv6Addr,
    ipv6: bool,
}

impl Pod {
    /// Makes a Pod with the addresses 10.244.0.(10 + `index`) and, if the kernel has `ipv6`,
    /// fd00:10:244::a + `index`, and connects it to the calling thread's namespace.
    pub(crate) fn create(index: u8, ipv6: bool) -> Result<Self> {
        let Dual { v4, v6 } = place(index, 0);
        let (address, address6) = (*v4.ip(), *v6.ip());
        let namespace = Namespace::new()?;
        let here =
            End { name: &format!("pod{index}"), index: POD_INTERFACE + 1 + u32::from(index) };
        link::veth(&here, &End { name: "eth0", index: POD_INTERFACE }, &namespace)?;
        namespace.run(|| {
            link::up(link::LOOPBACK)?;
            link::up(POD_INTERFACE)?;
            link::wait_until_operational(POD_INTERFACE)?;
            link::point_to_point(POD_INTERFACE, address.into(), CLIENT.into())?;
            link::route(POD_INTERFACE, NETWORK, CLIENT.into())?;
            if ipv6 {
                link::assign(POD_INTERFACE, POD_ON_LINK.into())?;
                link::point_to_point(POD_INTERFACE, address6.into(), CLIENT6.into())?;
                link::route(POD_INTERFACE, NETWORK6, CLIENT6.into())?;
            }
            anyhow::Ok(())
        })?;
        link::wait_until_operational(here.index)?;
        link::point_to_point(here.index, CLIENT.into(), address.into())?;
        if ipv6 {
            link::assign(here.index, CLIENT_ON_LINK.into())?;
            link::point_to_point(here.index, CLIENT6.into(), address6.into())?;
        }
        Ok(Self { namespace, address, address6, ipv6 })
    }

    /// Where the Pod is reached over IPv4.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where the Pod is reached over IPv6, if the kernel has it.
    pub fn address6(&self) -> Ipv6Addr {
        self.address6
    }

    /// The Pod's IPv4 address with `port`, in host byte order.
    pub fn socket(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    /// The Pod's IPv6 address with `port`, in host byte order.
    pub fn socket6(&self, port: u16) -> SocketAddrV6 {
        SocketAddrV6::new(self.address6, port, 0, 0)
    }

    /// Both of the Pod's addresses with `port`, in host byte order.
    pub fn dual(&self, port: u16) -> Dual {
        Dual::new(self.address, self.address6, port)
    }

    /// Those of the Pod's addresses that this kernel has, with `port`.
    pub(crate) fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let mut addresses = vec![SocketAddr::from(self.socket(port))];
        addresses.extend(self.ipv6.then(|| SocketAddr::from(self.socket6(port))));
        addresses
    }

    /// The Pod's network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Puts a process into the Pod, as every real one has as long as a container runs. By it the
    /// agent finds the namespace, and it ends with the experiment's cgroup.
    ///
    /// # Errors
    /// When there is no `sleep`.
    pub fn inhabit(&self) -> Result<Child> {
        Ok(self.namespace.run(|| Command::new("sleep").arg("600").spawn())?)
    }

    /// Listens on TCP `ports` of all the Pod's addresses. Each is given with the identity that a
    /// connection to it receives, two bytes in network order, before it is closed.
    ///
    /// # Errors
    /// When a port is taken, or there are too few file descriptors.
    pub fn serve(&self, ports: impl IntoIterator<Item = (u16, u16)>) -> Result<Server> {
        self.start(Service::Greet, ports)
    }

    /// Like [`serve`](Self::serve), but keeps the connections, and sends back what they receive.
    ///
    /// # Errors
    /// When a port is taken, or there are too few file descriptors.
    pub fn serve_echo(&self, ports: impl IntoIterator<Item = (u16, u16)>) -> Result<Server> {
        self.start(Service::Echo, ports)
    }

    /// Answers on UDP `ports` of all the Pod's addresses. Each is given with the identity that an
    /// answer begins with, two bytes in network order; what was sent follows.
    ///
    /// # Errors
    /// When a port is taken, or there are too few file descriptors.
    pub fn serve_udp(&self, ports: impl IntoIterator<Item = (u16, u16)>) -> Result<Server> {
        self.start(Service::Answer, ports)
    }

    fn start(
        &self,
        service: Service,
        ports: impl IntoIterator<Item = (u16, u16)>,
    ) -> Result<Server> {
        let ports: Vec<_> = ports
            .into_iter()
            .map(|(port, identity)| Port { addresses: self.addresses(port), identity })
            .collect();
        self.namespace.run(|| Server::start(service, &ports))
    }
}
