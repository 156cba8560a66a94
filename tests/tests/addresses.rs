//! The source of the node's addresses, on the real kernel: in a namespace of its own, where
//! addresses and interfaces come and go.
#![forbid(unsafe_code)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::mpsc::{Receiver, channel, sync_channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use lab::{
    requirement::{self, Need},
    stage::eventually,
};
use lb_userspace::source::{
    Event,
    addresses::{self, Watcher},
};
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
};
use tokio::runtime;

/// No test takes as long, unless what it waits for never comes.
const AT_MOST: Duration = Duration::from_secs(20);
const LOOPBACK: u32 = 1;
/// An index that no interface has which the kernel puts into a new namespace.
const ETH: u32 = 1007;

/// Follows the addresses of this namespace.
struct Followed {
    sets: Receiver<Vec<IpAddr>>,
    _watcher: Watcher,
}

impl Followed {
    fn start() -> Result<Self> {
        let (sender, sets) = channel();
        let watcher = addresses::watch(move |event| {
            let Event::LocalAddresses(set) = event else { panic!("{event:?}") };
            // Nobody listens any more at the end of a test.
            let _ = sender.send(set);
        })?;
        Ok(Self { sets, _watcher: watcher })
    }

    /// Waits until the addresses are these, and returns all sets that were told until then.
    fn until(&self, wanted: &[&str]) -> Result<Vec<Vec<IpAddr>>> {
        let wanted = ips(wanted);
        let deadline = Instant::now() + AT_MOST;
        let mut told = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let set = self.sets.recv_timeout(left).with_context(|| format!("only {told:?}"))?;
            told.push(set);
            if told.last() == Some(&wanted) {
                return Ok(told);
            }
        }
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

/// Does one `job` on a netlink socket of this namespace.
fn netlink<T>(job: impl AsyncFnOnce(Handle) -> Result<T, Error>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(job(handle).await?)
    })
}

fn add(index: u32, address: &str, prefix: u8) -> Result<()> {
    let address: IpAddr = address.parse()?;
    netlink(async |handle| handle.address().add(index, address, prefix).execute().await)
        .with_context(|| format!("cannot add {address}"))
}

fn remove(index: u32, address: &str) -> Result<()> {
    let address: IpAddr = address.parse()?;
    netlink(async |handle| {
        let mut found = handle
            .address()
            .get()
            .set_link_index_filter(index)
            .set_address_filter(address)
            .execute();
        let message: AddressMessage = found.try_next().await?.expect("the address is there");
        handle.address().del(message).execute().await
    })
    .with_context(|| format!("cannot remove {address}"))
}

/// Makes a veth pair, both ends here, `name` with this index. Both stay switched off.
fn pair(name: &str, index: u32) -> Result<()> {
    let pair = LinkMessageBuilder::<LinkVeth>::new(name, &format!("{name}-peer")).index(index);
    netlink(async |handle| handle.link().add(pair.build()).execute().await)
        .with_context(|| format!("cannot make {name}"))
}

fn rename(index: u32, name: &str) -> Result<()> {
    netlink(async |handle| {
        let link = LinkUnspec::new_with_index(index).name(name.to_owned()).build();
        handle.link().set(link).execute().await
    })
}

fn switch_on(index: u32) -> Result<()> {
    netlink(async |handle| {
        handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await
    })
}

/// Waits until the interface has a link-local address that is no duplicate.
fn wait_until_on_link(index: u32) -> Result<()> {
    eventually("a link-local address", || {
        netlink(async |handle| {
            let mut found = handle.address().get().set_link_index_filter(index).execute();
            while let Some(message) = found.try_next().await? {
                let is_settled = !message.header.flags.contains(AddressHeaderFlags::Tentative);
                let mut attributes = message.attributes.iter();
                let is_on_link = attributes.any(|attribute| {
                    matches!(attribute, AddressAttribute::Address(IpAddr::V6(address))
                        if address.is_unicast_link_local())
                });
                if is_settled && is_on_link {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    })
}

#[test]
fn addresses_come_and_go_on_any_interface_in_both_families() {
    lab::isolated_with(&[Need::Ipv6], |_| {
        add(LOOPBACK, "192.0.2.1", 32)?;
        let followed = Followed::start()?;
        ensure!(
            followed.sets.try_recv() == Ok(ips(&["192.0.2.1"])),
            "the first set is there before the watcher is"
        );

        add(LOOPBACK, "fd00::1", 128)?;
        followed.until(&["192.0.2.1", "fd00::1"])?;
        pair("eth7", ETH)?;
        add(ETH, "10.7.0.1", 24)?;
        followed.until(&["10.7.0.1", "192.0.2.1", "fd00::1"])?;
        // The same on two interfaces is one, and stays when one of them goes.
        add(ETH, "192.0.2.1", 32)?;
        remove(LOOPBACK, "192.0.2.1")?;
        remove(LOOPBACK, "fd00::1")?;
        followed.until(&["10.7.0.1", "192.0.2.1"])?;
        // What goes with its interface.
        netlink(async |handle| handle.link().del(ETH).execute().await)?;
        followed.until(&[])?;
        Ok(())
    });
}

#[test]
fn an_ipv6_address_counts_once_it_is_no_duplicate() {
    lab::isolated_with(&[Need::Ipv6], |_| {
        // Both ends are to get a link-local address when they are switched on.
        fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "0")?;
        pair("eth7", ETH)?;
        let followed = Followed::start()?;
        followed.until(&[])?;
        // Duplicate address detection begins when the link is up, and waits for an answer.
        add(ETH, "fd00::7", 64)?;
        add(LOOPBACK, "10.0.0.1", 32)?;
        for set in followed.until(&["10.0.0.1"])? {
            assert!(!set.contains(&"fd00::7".parse()?), "{set:?}");
        }
        let peer = netlink(async |handle| {
            let mut links = handle.link().get().match_name("eth7-peer").execute();
            Ok(links.try_next().await?.expect("the pair's other end").header.index)
        })?;
        switch_on(ETH)?;
        switch_on(peer)?;
        let mut told = followed.until(&["10.0.0.1", "fd00::7"])?;
        wait_until_on_link(ETH)?;
        wait_until_on_link(peer)?;
        // The link-local ones never count, not even when they are no duplicates.
        add(LOOPBACK, "10.0.0.2", 32)?;
        told.extend(followed.until(&["10.0.0.1", "10.0.0.2", "fd00::7"])?);
        assert_eq!(told.len(), 2, "{told:?}");
        Ok(())
    });
}

#[test]
fn point_18b_addresses_of_kube_ipvs0_are_not_the_nodes() {
    lab::isolated_with(&[Need::Ipv6], |_| {
        pair("kube-ipvs0", ETH)?;
        add(ETH, "10.96.0.1", 32)?;
        let followed = Followed::start()?;
        followed.until(&[])?;
        add(ETH, "10.96.0.2", 32)?;
        add(ETH, "fd00::2", 128)?;
        add(LOOPBACK, "10.0.0.1", 32)?;
        let told = followed.until(&["10.0.0.1"])?;
        assert_eq!(told.len(), 1, "{told:?}");

        // The name decides, and it may change.
        rename(ETH, "eth7")?;
        followed.until(&["10.0.0.1", "10.96.0.1", "10.96.0.2"])?;
        rename(ETH, "kube-ipvs0")?;
        followed.until(&["10.0.0.1"])?;
        Ok(())
    });
}

/// Whether notifications were lost, of any socket here.
fn is_dropped() -> Result<bool> {
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink")?;
    let drops =
        sockets.lines().filter_map(|line| line.split_whitespace().nth(8)?.parse::<u32>().ok());
    Ok(drops.max() > Some(0))
}

#[test]
fn lost_notifications_lose_no_change() {
    /// How many addresses are added at a time, and the most in all: each costs more than the one before.
    const STEP: u16 = 1000;
    const MOST: u16 = 20_000;
    lab::isolated(|_| {
        let (sender, sets) = sync_channel(0);
        let watcher = addresses::watch({
            let mut first = true;
            move |event| {
                let Event::LocalAddresses(set) = event else { panic!("{event:?}") };
                // The first one comes on the thread that is to listen.
                if !std::mem::take(&mut first) {
                    let _ = sender.send(set);
                }
            }
        })?;
        // The watcher waits with this in its hands until somebody takes it.
        add(LOOPBACK, "10.0.0.1", 32)?;
        // More than its socket has room for, which is the machine's choice (net.core.rmem_default).
        let mut added = 0;
        while !is_dropped()? && added < MOST {
            netlink(async |handle| {
                for number in added..added + STEP {
                    let [high, low] = number.to_be_bytes();
                    let address = Ipv4Addr::new(10, 1, high, low);
                    handle.address().add(LOOPBACK, address.into(), 32).execute().await?;
                }
                Ok(())
            })?;
            added += STEP;
        }
        if !is_dropped()? {
            let reason = format!("net.core.rmem_default has room for {MOST} notifications");
            requirement::note_skip("lost_notifications_lose_no_change", &reason)?;
        }

        let added = usize::from(added);
        while sets.recv_timeout(AT_MOST)?.len() != added + 1 {}
        // And it follows as before.
        remove(LOOPBACK, "10.0.0.1")?;
        while sets.recv_timeout(AT_MOST)?.len() != added {}
        drop(sets);
        drop(watcher);
        Ok(())
    });
}
