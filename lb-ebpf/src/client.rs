//! Who connects: `lb_config`, `lb_optouts` and `lb_affinity`, and `lb_common`'s view of them.
//!
//! Nothing here decides: `lb_common` does. The agent and other CPUs write these maps meanwhile, so
//! no reference may be made into them, but to the prefixes, which only change while nobody looks at
//! them.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{Array, HashMap, LruHashMap},
    helpers::{
        bpf_get_prandom_u32,
        generated::{bpf_get_netns_cookie, bpf_ktime_get_boot_ns},
    },
    macros::btf_map,
    programs::{SockAddrContext, SockContext},
};
use lb_common::{
    AGENT_PRIORITY, Client, Switches,
    layout::{Affinity, AffinityKey, Cidr4, Cidr6, Config},
};

#[btf_map(name = "lb_config")]
static CONFIG: Array<Config, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The network namespaces that are left alone, by their cookies. The values say nothing.
#[btf_map(name = "lb_optouts")]
static OPT_OUTS: HashMap<u64, u32, 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "lb_affinity")]
static AFFINITY: LruHashMap<AffinityKey, Affinity, 1> = LruHashMap::new();

/// A context with a socket.
pub(crate) trait Prioritized: EbpfContext {
    /// The socket's SO_PRIORITY.
    fn priority(&self) -> u32;
}

impl Prioritized for SockAddrContext {
    #[inline(always)]
    fn priority(&self) -> u32 {
        // SAFETY: the kernel hands every run a valid bpf_sock_addr, and none without a socket.
        let socket = unsafe { (&raw const (*self.sock_addr).__bindgen_anon_1.sk).read_volatile() };
        if socket.is_null() {
            return 0;
        }
        // SAFETY: the verifier knows the pointer for the socket, and checks the access.
        unsafe { (&raw const (*socket).priority).read_volatile() }
    }
}

impl Prioritized for SockContext {
    #[inline(always)]
    fn priority(&self) -> u32 {
        // SAFETY: the kernel hands every run a valid bpf_sock.
        unsafe { (&raw const (*self.sock).priority).read_volatile() }
    }
}

/// Whoever runs into a hook.
pub(crate) struct Caller<'a, C>(pub(crate) &'a C);

/// The configuration, which the agent writes while programs read it.
#[inline(always)]
fn config() -> Option<*const Config> {
    CONFIG.get_ptr(0)
}

/// The first word of the configuration.
#[inline(always)]
fn first_word() -> [u8; 8] {
    // SAFETY: array elements live as long as the map; the word is aligned to 8.
    config().map_or([0; 8], |config| unsafe { config.cast::<u64>().read_volatile() }.to_ne_bytes())
}

/// Whether node ports are to be kept free.
#[inline(always)]
pub(crate) fn protects_node_ports() -> bool {
    let [_, _, _, protect, ..] = first_word();
    protect != 0
}

impl<C: Prioritized> Client for Caller<'_, C> {
    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes no arguments and is allowed in every program type.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn netns(&self) -> u64 {
        // SAFETY: the context is the one that the kernel handed to this run.
        unsafe { bpf_get_netns_cookie(self.0.as_ptr()) }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes no arguments.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn switches(&self) -> Switches {
        let [refuse, opt_outs, host_scope, _, a, b, c, d] = first_word();
        Switches {
            refuse: refuse != 0,
            opt_outs: opt_outs != 0,
            host_scope: host_scope != 0,
            cidr_count4: u16::from_ne_bytes([a, b]),
            cidr_count6: u16::from_ne_bytes([c, d]),
        }
    }

    #[inline(always)]
    fn host(&self) -> u64 {
        // SAFETY: as above.
        config().map_or(0, |config| unsafe { (&raw const (*config).host).read_volatile() })
    }

    #[inline(always)]
    fn cidr4(&self, index: u16) -> Cidr4 {
        // SAFETY: as above. The agent changes prefixes only while nobody is sent here.
        let cidr =
            |config: *const Config| unsafe { (*config).cidrs4.get(usize::from(index)).copied() };
        config().and_then(cidr).unwrap_or(Cidr4 { address: [0; 4], mask: [255; 4] })
    }

    #[inline(always)]
    fn cidr6(&self, index: u16) -> Cidr6 {
        // SAFETY: as above.
        let cidr =
            |config: *const Config| unsafe { (*config).cidrs6.get(usize::from(index)).copied() };
        config().and_then(cidr).unwrap_or(Cidr6 { address: [0; 16], mask: [255; 16] })
    }

    #[inline(always)]
    fn is_the_agents(&self) -> bool {
        self.0.priority() == AGENT_PRIORITY
    }

    #[inline(always)]
    fn is_opted_out(&self, netns: u64) -> bool {
        OPT_OUTS.get_ptr(netns).is_some()
    }

    #[inline(always)]
    fn judge_affinity(
        &self,
        key: &AffinityKey,
        judge: impl FnOnce(Affinity) -> Option<Affinity>,
    ) -> Option<()> {
        let entry = AFFINITY.get_ptr_mut(key)?;
        // What other CPUs store meanwhile, or another key's owner after an eviction, is as good as any:
        // a backend counts only if it is in the range, and a hint only if the backend stands there.
        // SAFETY: the element stays mapped memory for the whole run, and each of its fields is
        // loaded and stored whole.
        unsafe {
            if let Some(next) = judge(entry.read_volatile()) {
                entry.write_volatile(next);
            }
        }
        Some(())
    }

    #[inline(always)]
    fn remember(&self, key: &AffinityKey, value: &Affinity) -> bool {
        AFFINITY.insert(key, value, BPF_NOEXIST.into()).is_ok()
    }
}
