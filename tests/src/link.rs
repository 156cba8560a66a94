//! Links and addresses, made over rtnetlink in the calling thread's network namespace.
//!
//! A veth pair carries one address of each family on either side, each with a route to the other, and
//! a link-local one. Without that the kernel asks for no IPv6 neighbour in the name of others: it
//! would forward to those alone that it has talked to itself, and only as long as it remembers them.
//! This module must never add a route that leads to anything but another Pod.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::TryStreamExt;
use rtnetlink::{
    AddressMessageBuilder, Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressFlags},
        link::{InfoData, InfoVeth, LinkAttribute, State},
        route::{RouteAddress, RouteAttribute, RouteType},
    },
};
use tokio::runtime;

use crate::netns::Namespace;

/// The loopback interface has this index in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// Nobody else can have an address: it need not be tried for a second before it is used.
const UNTRIED: AddressAttribute = AddressAttribute::Flags(AddressFlags::Nodad);

/// How long the kernel's workers may take to do what was asked of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a veth pair: the interface's name, and an index that is free where it is made.
pub(crate) struct End<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u32,
}

/// Switches an interface on.
pub(crate) fn up(index: u32) -> Result<()> {
    netlink(async |handle| {
        handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await
    })
    .with_context(|| format!("cannot switch on interface {index}"))
}

/// Makes a veth pair with one end here, switched on, and the other in `namespace`. That one cannot
/// be switched on by the same request: the kernel does so before it joins the two.
pub(crate) fn veth(here: &End<'_>, there: &End<'_>, namespace: &Namespace) -> Result<()> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(there.name)
        .index(there.index)
        .append_extra_attribute(LinkAttribute::NetNsFd(namespace.file().as_raw_fd()))
        .build();
    let pair = LinkMessageBuilder::<LinkVeth>::new(here.name, there.name)
        .index(here.index)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .up()
        .build();
    netlink(async |handle| handle.link().add(pair).execute().await)
        .with_context(|| format!("cannot make the veth pair {} and {}", here.name, there.name))
}

/// Waits until the interface `index`, switched on at both ends, transmits.
///
/// The kernel switches a link's carrier on at once, but connects its queue later, from a worker;
/// until then it drops what is sent, and a first SYN is repeated only a second later. The
/// operational state tells. Whoever takes the configuration lock after it was seen (to add an
/// address, say) knows that the worker is done.
pub(crate) fn wait_until_operational(index: u32) -> Result<()> {
    let up = LinkAttribute::OperState(State::Up);
    wait(async |handle| {
        let mut links = handle.link().get().match_index(index).execute();
        Ok(links.try_next().await?.is_some_and(|link| link.attributes.contains(&up)))
    })
    .with_context(|| format!("interface {index} does not become operational"))
}

/// Gives the interface `index` the address `local`, and a route to `peer` alone.
pub(crate) fn point_to_point(index: u32, local: IpAddr, peer: IpAddr) -> Result<()> {
    let mut message = match local {
        IpAddr::V4(_) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).build(),
        IpAddr::V6(_) => AddressMessageBuilder::<Ipv6Addr>::new().index(index).build(),
    };
    let whole = if local.is_ipv4() { 32 } else { 128 };
    message.header.prefix_len = whole;
    message.attributes = vec![AddressAttribute::Local(local), AddressAttribute::Address(peer)];
    if local.is_ipv6() {
        message.attributes.push(UNTRIED);
    }
    netlink(async |handle| {
        let mut request = handle.address().add(index, local, whole);
        *request.message_mut() = message;
        request.execute().await
    })
    .with_context(|| format!("cannot give interface {index} the address {local} towards {peer}"))?;
    match local {
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(local) => wait_until_local(index, local),
    }
}

/// Gives the interface `index` an address, which nobody else on its link may have. No route but the
/// local one comes with it.
pub(crate) fn assign(index: u32, address: IpAddr) -> Result<()> {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    netlink(async |handle| {
        let mut request = handle.address().add(index, address, whole);
        if address.is_ipv6() {
            request.message_mut().attributes.push(UNTRIED);
        }
        request.execute().await
    })
    .with_context(|| format!("cannot give interface {index} the address {address}"))?;
    match address {
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(address) => wait_until_local(index, address),
    }
}

/// Takes an address away from the interface `index`.
pub(crate) fn unassign(index: u32, address: IpAddr) -> Result<()> {
    netlink(async |handle| {
        let mut found = handle
            .address()
            .get()
            .set_link_index_filter(index)
            .set_address_filter(address)
            .execute();
        while let Some(message) = found.try_next().await? {
            handle.address().del(message).execute().await?;
        }
        Ok(())
    })
    .with_context(|| format!("cannot take the address {address} from interface {index}"))
}

/// Sends what is for `network` through `gateway`, which the interface `index` leads to.
pub(crate) fn route(index: u32, network: (IpAddr, u8), gateway: IpAddr) -> Result<()> {
    let (address, prefix) = network;
    let route = match (address, gateway) {
        (IpAddr::V4(address), IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, prefix)
            .gateway(gateway)
            .output_interface(index)
            .build(),
        (IpAddr::V6(address), IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, prefix)
            .gateway(gateway)
            .output_interface(index)
            .build(),
        _ => bail!("{address}/{prefix} and {gateway} are of different families"),
    };
    netlink(async |handle| handle.route().add(route).execute().await)
        .with_context(|| format!("cannot route {address}/{prefix} through {gateway}"))
}

/// Waits until the kernel takes `address` on the interface `index` for its own. It joins the group
/// in which neighbours ask for an IPv6 address, and then adds the route, from a worker, some time
/// after the request is done; a first question that nobody hears is repeated only a second later.
fn wait_until_local(index: u32, address: Ipv6Addr) -> Result<()> {
    let ours =
        [RouteAttribute::Destination(RouteAddress::Inet6(address)), RouteAttribute::Oif(index)];
    wait(async |handle| {
        let all = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut routes = handle.route().get(all).execute();
        while let Some(route) = routes.try_next().await? {
            if route.header.kind == RouteType::Local
                && ours.iter().all(|attribute| route.attributes.contains(attribute))
            {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .with_context(|| format!("interface {index} does not get the address {address}"))
}

/// Asks until `there` says so.
fn wait(there: impl AsyncFn(&Handle) -> Result<bool, Error>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let in_time = netlink(async |handle| {
        while Instant::now() < deadline {
            if there(&handle).await? {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(false)
    })?;
    ensure!(in_time, "it did not in {PATIENCE:?}");
    Ok(())
}

/// Does one `job` on a netlink socket of the calling thread's namespace.
fn netlink<T>(job: impl AsyncFnOnce(Handle) -> Result<T, Error>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(job(handle).await?)
    })
}
