//! Links and addresses, made over rtnetlink in the calling thread's network namespace.
//!
//! A veth pair carries one address on either side, each with a route to the other and nothing
//! else. This module must never add a route that leads further.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use rtnetlink::{
    AddressMessageBuilder, Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::{
        address::{AddressAttribute, AddressMessage},
        link::{InfoData, InfoVeth, LinkAttribute, State},
    },
};
use tokio::runtime;

use crate::netns::Namespace;

/// The loopback interface has this index in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// How long a new link may take until it transmits.
const OPERATIONAL: Duration = Duration::from_secs(5);

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
    let deadline = Instant::now() + OPERATIONAL;
    netlink(async |handle| {
        while Instant::now() < deadline {
            let mut links = handle.link().get().match_index(index).execute();
            let link = links.try_next().await?;
            let up = LinkAttribute::OperState(State::Up);
            if link.is_some_and(|link| link.attributes.contains(&up)) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(false)
    })
    .and_then(|up| {
        ensure!(up, "it did not in {OPERATIONAL:?}");
        Ok(())
    })
    .with_context(|| format!("interface {index} does not become operational"))
}

/// Gives the interface `index` the address `local`, and a route to `peer` alone.
pub(crate) fn point_to_point(index: u32, local: Ipv4Addr, peer: Ipv4Addr) -> Result<()> {
    let mut message: AddressMessage = AddressMessageBuilder::<Ipv4Addr>::new().index(index).build();
    message.header.prefix_len = 32;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(local)),
        AddressAttribute::Address(IpAddr::V4(peer)),
    ];
    netlink(async |handle| {
        let mut request = handle.address().add(index, local.into(), 32);
        *request.message_mut() = message;
        request.execute().await
    })
    .with_context(|| format!("cannot give interface {index} the address {local} towards {peer}"))
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
