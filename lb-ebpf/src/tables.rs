//! The BPF maps, and `lb_common`'s view of them.
//!
//! The maps are BTF-defined, so that `bpftool map dump name lb_services` prints named fields. The
//! agent sets the number of entries before it loads the object; the numbers here are never used.
//! Programs only read these maps: `lb_services` and `lb_backends4` are mapped into the agent's
//! memory and written there.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap},
    helpers::bpf_get_prandom_u32,
    macros::btf_map,
};
use lb_common::{Backend4, FrontendKey4, FrontendValue, Range, Service, Tables, layout::NAME_LEN};

#[btf_map(name = "lb_frontends4")]
static FRONTENDS4: HashMap<FrontendKey4, FrontendValue, 1> = HashMap::new();

#[btf_map(name = "lb_services")]
static SERVICES: Array<Service, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map(name = "lb_backends4")]
static BACKENDS4: Array<Backend4, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Read by tools only. Without preallocation, since most of its room is never used.
#[btf_map(name = "lb_names")]
static NAMES: HashMap<u32, [u8; NAME_LEN], 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The maps that a connect consults.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendValue> {
        let value = FRONTENDS4.get_ptr(key)?;
        // SAFETY: the element stays mapped memory for the whole program run, which is an RCU
        // section; that it may be given to another key meanwhile is what the tag is for. Values
        // are 8 bytes and aligned to 8, so one volatile load takes both fields.
        Some(FrontendValue::from_bits(unsafe { value.cast::<u64>().read_volatile() }))
    }

    #[inline(always)]
    fn range(&self, slot: u32) -> Option<Range> {
        let service = SERVICES.get_ptr(slot)?;
        // SAFETY: array elements live as long as the map. The range is the entry's first word,
        // aligned to 8; one volatile load takes it whole. The address of the following load
        // depends on it, which orders the two on every CPU that Linux supports.
        Some(Range::from_bits(unsafe { service.cast::<u64>().read_volatile() }))
    }

    #[inline(always)]
    fn backend(&self, index: u32) -> Option<Backend4> {
        // SAFETY: array elements live as long as the map, and the agent rewrites none before a
        // grace period has passed since the last range that named it.
        BACKENDS4.get_ptr(index).map(|backend| unsafe { backend.read() })
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes no arguments and is allowed in every program type.
        unsafe { bpf_get_prandom_u32() }
    }
}
