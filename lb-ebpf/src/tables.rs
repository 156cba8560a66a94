//! The tables that a selection reads, and `lb_common`'s view of them.
//!
//! The maps are BTF-defined, so that `bpftool map dump name lb_services` prints named fields. The
//! agent sets the number of entries before it loads the object; the numbers here are never used.
//! Programs only read these maps: `lb_services` and the backends are mapped into the agent's memory
//! and written there.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap},
    macros::btf_map,
};
use lb_common::{
    Backend4, Backend6, FrontendKey4, FrontendKey6, FrontendValue, Range, Service, Tables, V4, V6,
    layout::NAME_LEN,
};

#[btf_map(name = "lb_frontends4")]
static FRONTENDS4: HashMap<FrontendKey4, FrontendValue, 1> = HashMap::new();

#[btf_map(name = "lb_frontends6")]
static FRONTENDS6: HashMap<FrontendKey6, FrontendValue, 1> = HashMap::new();

#[btf_map(name = "lb_services")]
static SERVICES: Array<Service, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map(name = "lb_backends4")]
static BACKENDS4: Array<Backend4, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map(name = "lb_backends6")]
static BACKENDS6: Array<Backend6, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Read by tools, and by the next agent. Without preallocation, since most of its room is never used.
#[btf_map(name = "lb_names")]
static NAMES: HashMap<u32, [u8; NAME_LEN], 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The maps that a selection consults.
pub(crate) struct Maps;

/// Words of an entry of `lb_services`.
const RANGE: usize = 0;
const IDENTITY: usize = 1;
const TRAITS: usize = 2;

/// One word of an entry of `lb_services`.
#[inline(always)]
fn service_word(slot: u32, word: usize) -> Option<u64> {
    let service = SERVICES.get_ptr(slot)?;
    // SAFETY: array elements live as long as the map, and are three words aligned to 8; one
    // volatile load takes one of them whole. The address of the load that follows after a range
    // depends on it, which orders the two on every CPU that Linux supports.
    Some(unsafe { service.cast::<u64>().add(word).read_volatile() })
}

/// The value that a hash element holds now.
#[inline(always)]
fn frontend_value(value: *const FrontendValue) -> FrontendValue {
    // SAFETY: the element stays mapped memory for the whole program run, which is an RCU
    // section; that it may be given to another key meanwhile is what the tag is for. Values
    // are 8 bytes and aligned to 8, so one volatile load takes both fields.
    FrontendValue::from_bits(unsafe { value.cast::<u64>().read_volatile() })
}

macro_rules! tables {
    ($family:ty, $key:ty, $backend:ty, $frontends:ident, $backends:ident) => {
        impl Tables<$family> for Maps {
            #[inline(always)]
            fn frontend(&self, key: &$key) -> Option<FrontendValue> {
                $frontends.get_ptr(key).map(frontend_value)
            }

            #[inline(always)]
            fn range(&self, slot: u32) -> Option<Range> {
                service_word(slot, RANGE).map(Range::from_bits)
            }

            #[inline(always)]
            fn identity(&self, slot: u32) -> (u32, u32) {
                service_word(slot, IDENTITY).map_or((0, 0), Service::from_identity)
            }

            #[inline(always)]
            fn traits(&self, slot: u32) -> (u32, u32) {
                service_word(slot, TRAITS).map_or((0, 0), Service::from_traits)
            }

            #[inline(always)]
            fn backend(&self, index: u32) -> Option<$backend> {
                // SAFETY: array elements live as long as the map, and the agent rewrites none
                // before a grace period has passed since the last range that named it.
                $backends.get_ptr(index).map(|backend| unsafe { backend.read() })
            }
        }
    };
}

tables!(V4, FrontendKey4, Backend4, FRONTENDS4, BACKENDS4);
tables!(V6, FrontendKey6, Backend6, FRONTENDS6, BACKENDS6);
