//! The source of the node's addresses, on the real kernel: in a namespace of its own, where
//! addresses and interfaces come and go.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::mpsc::{Receiver, channel, sync_channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use lab::requirement::Need;
use lb_userspace::source::{
    Event,
    addresses::{self, Watcher},
};
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, packet_route::address::AddressMessage,
};
use tokio::runtime;

/// No test takes as long, unless what it waits for never comes.
const AT_MOST: Duration = Duration::from_secs(20);
const LOOPBACK: u32 = 1;

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
        pair("eth7", 7)?;
        add(7, "10.7.0.1", 24)?;
        followed.until(&["10.7.0.1", "192.0.2.1", "fd00::1"])?;
        // The same on two interfaces is one, and stays when one of them goes.
        add(7, "192.0.2.1", 32)?;
        remove(LOOPBACK, "192.0.2.1")?;
        remove(LOOPBACK, "fd00::1")?;
        followed.until(&["10.7.0.1", "192.0.2.1"])?;
        // What goes with its interface.
        netlink(async |handle| handle.link().del(7).execute().await)?;
        followed.until(&[])?;
        Ok(())
    });
}

#[test]
fn an_ipv6_address_counts_once_it_is_no_duplicate() {
    lab::isolated_with(&[Need::Ipv6], |_| {
        pair("eth7", 7)?;
        let followed = Followed::start()?;
        followed.until(&[])?;
        // Duplicate address detection begins when the link is up, and waits for an answer.
        add(7, "fd00::7", 64)?;
        add(LOOPBACK, "10.0.0.1", 32)?;
        for set in followed.until(&["10.0.0.1"])? {
            assert!(!set.contains(&"fd00::7".parse()?), "{set:?}");
        }
        let peer = netlink(async |handle| {
            let mut links = handle.link().get().match_name("eth7-peer").execute();
            Ok(links.try_next().await?.expect("the pair's other end").header.index)
        })?;
        switch_on(7)?;
        switch_on(peer)?;
        // The link-local addresses that both get now never count.
        followed.until(&["10.0.0.1", "fd00::7"])?;
        Ok(())
    });
}

#[test]
fn point_18b_addresses_of_kube_ipvs0_are_not_the_nodes() {
    lab::isolated_with(&[Need::Ipv6], |_| {
        pair("kube-ipvs0", 7)?;
        add(7, "10.96.0.1", 32)?;
        let followed = Followed::start()?;
        followed.until(&[])?;
        add(7, "10.96.0.2", 32)?;
        add(7, "fd00::2", 128)?;
        add(LOOPBACK, "10.0.0.1", 32)?;
        let told = followed.until(&["10.0.0.1"])?;
        assert_eq!(told.len(), 1, "{told:?}");

        // The name decides, and it may change.
        rename(7, "eth7")?;
        followed.until(&["10.0.0.1", "10.96.0.1", "10.96.0.2"])?;
        rename(7, "kube-ipvs0")?;
        followed.until(&["10.0.0.1"])?;
        Ok(())
    });
}

#[test]
fn lost_notifications_lose_no_change() {
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
        netlink(async |handle| {
            // More than its socket has room for.
            for number in 0..4000u16 {
                let [high, low] = number.to_be_bytes();
                let address = Ipv4Addr::new(10, 1, high, low);
                handle.address().add(LOOPBACK, address.into(), 32).execute().await?;
            }
            Ok(())
        })?;
        let drops = std::fs::read_to_string("/proc/thread-self/net/netlink")?;
        let dropped =
            |line: &str| line.split_whitespace().nth(8).and_then(|field| field.parse::<u32>().ok());
        assert!(drops.lines().filter_map(dropped).any(|drops| drops > 0), "{drops}");

        while sets.recv_timeout(AT_MOST)?.len() < 4001 {}
        // And it follows as before.
        remove(LOOPBACK, "10.0.0.1")?;
        while sets.recv_timeout(AT_MOST)?.len() != 4000 {}
        drop(sets);
        drop(watcher);
        Ok(())
    });
}
