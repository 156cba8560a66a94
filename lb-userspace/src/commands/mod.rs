//! The verbs of `socklb`, one file each.
//!
//! Only `run` and `cleanup` may change what is in force.

pub mod check;
pub mod cleanup;
pub mod run;
pub mod services;

/// What follows where [`has_ipv6`] is false.
const NO_IPV6: &str = "nothing is balanced over IPv6: the kernel does without (ipv6.disable=1?)";

/// Whether the kernel has IPv6 in this network namespace.
fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}
