//! `lb_config` and `lb_optouts`: what operators and Pods decide while the programs run.
//!
//! This module must never write the words of `lb_config` that hold ids: the publisher does.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::Ordering,
};

use lb_common::layout::{Cidr4, Cidr6, Config};

use super::{
    mapped::WritableArray,
    networks::ServiceNetworks,
    object::{LoadError, Object},
    sys,
};
use crate::publish::StoreError;

/// Words of [`Config`].
const SWITCHES: usize = 0;
const HOST: usize = 1;
/// The first one of the prefixes.
const CIDR_WORDS: usize = std::mem::offset_of!(Config, cidrs4) / 8;

// The publisher writes the word between, through a mapping of its own.
const _: () = assert!(HOST < Config::NEXT_IDS_WORD && Config::NEXT_IDS_WORD < CIDR_WORDS);

/// What the first words of [`Config`] say, and its networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The cookie of the host's network namespace; 0 if the kernel cannot tell (before 5.14).
    pub host: u64,
    /// Balance in the host's network namespace only.
    pub host_scope: bool,
    /// Keep served node ports free in the host's network namespace.
    pub protect_node_ports: bool,
    /// Refuse what is inside of a Service CIDR and no Service's.
    pub refuse: bool,
    /// Where ClusterIPs are given from.
    pub networks: ServiceNetworks,
}

/// Write access to the configuration.
pub struct KernelConfig {
    config: WritableArray<Config>,
    opt_outs: OwnedFd,
    opted_out: BTreeSet<u64>,
    switches: Config,
}

impl KernelConfig {
    /// Writes the configuration, before anything is attached.
    ///
    /// # Panics
    ///
    /// If it holds more networks of a family than there is room for.
    pub fn new(object: &Object, configuration: &Configuration) -> Result<Self, LoadError> {
        let map = object.map_copy("lb_config")?;
        let error = |source| StoreError { call: "mmap", table: "lb_config", source };
        let config = WritableArray::<Config>::new(map.as_fd(), 1).map_err(error)?;
        let mut switches = Config {
            refuse: configuration.refuse.into(),
            opt_outs: 0,
            host_scope: configuration.host_scope.into(),
            protect_node_ports: configuration.protect_node_ports.into(),
            host: configuration.host,
            ..Config::default()
        };
        name(&mut switches, &configuration.networks);
        let opt_outs = object.map_copy("lb_optouts")?;
        let written = Self { config, opt_outs, opted_out: BTreeSet::new(), switches };
        written.write();
        Ok(written)
    }

    /// Leaves these network namespaces alone from now on, and no others. Those that found no room
    /// in the table are balanced; only another call tries them again.
    pub fn opt_out(&mut self, cookies: &BTreeSet<u64>) -> Result<(), StoreError> {
        let new: Vec<u64> = cookies.difference(&self.opted_out).copied().collect();
        let gone: Vec<u64> = self.opted_out.difference(cookies).copied().collect();
        // Room first, then the switch before it is needed, so that nobody is looked up in vain.
        let mut result = self.delete(&gone);
        if !cookies.is_empty() {
            self.switch_opt_outs(true);
        }
        let values = vec![1u32; new.len()];
        let inserted = match sys::update_batch(self.opt_outs.as_fd(), &new, &values) {
            Ok(()) => new.len(),
            Err((done, source)) => {
                result = Err(error("BPF_MAP_UPDATE_BATCH", source));
                done
            }
        };
        self.opted_out.extend(&new[..inserted]);
        if self.opted_out.is_empty() {
            self.switch_opt_outs(false);
        }
        result
    }

    /// Refuses nothing from now on. Programs that run at this moment may still do.
    pub fn stop_refusing(&mut self) {
        self.switches.refuse = 0;
        self.write_switches();
    }

    /// Refuses what is in these networks and no Service's, and nothing in others. No program may
    /// be in these words any more: a grace period has ended since [`Self::stop_refusing`].
    pub fn refuse_in(&mut self, networks: &ServiceNetworks) {
        name(&mut self.switches, networks);
        self.write_networks();
        self.switches.refuse = 1;
        self.write_switches();
    }

    fn delete(&mut self, gone: &[u64]) -> Result<(), StoreError> {
        let (deleted, result) = match sys::delete_batch(self.opt_outs.as_fd(), gone) {
            Ok(()) => (gone.len(), Ok(())),
            Err((done, source)) => (done, Err(error("BPF_MAP_DELETE_BATCH", source))),
        };
        for cookie in &gone[..deleted] {
            self.opted_out.remove(cookie);
        }
        result
    }

    fn switch_opt_outs(&mut self, on: bool) {
        self.switches.opt_outs = on.into();
        self.write_switches();
    }

    fn write_switches(&self) {
        let Config { refuse, opt_outs, host_scope, protect_node_ports, .. } = self.switches;
        let [a, b] = self.switches.cidr_count4.to_ne_bytes();
        let [c, d] = self.switches.cidr_count6.to_ne_bytes();
        let word =
            u64::from_ne_bytes([refuse, opt_outs, host_scope, protect_node_ports, a, b, c, d]);
        self.config.word(0, SWITCHES).store(word, Ordering::Release);
    }

    /// Everything but the ids. The switches last: they say how many prefixes there are.
    fn write(&self) {
        self.config.word(0, HOST).store(self.switches.host, Ordering::Relaxed);
        self.write_networks();
        self.write_switches();
    }

    fn write_networks(&self) {
        let cidrs4 = self.switches.cidrs4.iter().map(|Cidr4 { address, mask }| {
            let ([a, b, c, d], [e, f, g, h]) = (*address, *mask);
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        });
        let cidrs6 = self.switches.cidrs6.iter().flat_map(|Cidr6 { address, mask }| {
            [address, mask].into_iter().flat_map(|octets| {
                octets.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word))
            })
        });
        for (word, value) in (CIDR_WORDS..).zip(cidrs4.chain(cidrs6)) {
            self.config.word(0, word).store(value, Ordering::Relaxed);
        }
    }
}

/// Puts networks in the place of those that were there.
fn name(config: &mut Config, ServiceNetworks { cidrs4, cidrs6 }: &ServiceNetworks) {
    (config.cidrs4, config.cidrs6) = Default::default();
    config.cidrs4[..cidrs4.len()].copy_from_slice(cidrs4);
    config.cidrs6[..cidrs6.len()].copy_from_slice(cidrs6);
    (config.cidr_count4, config.cidr_count6) = (cidrs4.len() as u16, cidrs6.len() as u16);
}

fn error(call: &'static str, source: io::Error) -> StoreError {
    StoreError { call, table: "lb_optouts", source }
}
