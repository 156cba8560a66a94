//! The verbs of `socklb`, one file each.

pub mod check;
pub mod cleanup;
pub mod run;
pub mod services;

/// Whether the kernel has IPv6 in this network namespace.
fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}
