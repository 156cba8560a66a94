//! `lb_origins`: what connected sockets were connected to. It lives and goes with the socket.

use aya_ebpf::{btf_maps::SkStorage, macros::btf_map};
use lb_common::layout::Origin;

#[btf_map(name = "lb_origins")]
static ORIGINS: SkStorage<Origin> = SkStorage::new();
