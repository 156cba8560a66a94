//! What the kernel and the machine offer beside the programs.
//!
//! Whatever can be tried is tried: distributions backport, and leave out. This module must never
//! conclude from a version what it can ask for.

use std::path::Path;

use rustix::{fs::statfs, thread::CapabilitySet};
use serde::Serialize;

use super::ports;
use crate::{
    close,
    commands::{NO_IPV6, has_ipv6, run::cgroup},
    dataplane::BPF_FS_MAGIC,
    netns::{current_cookie, sees_the_node},
};

/// Something that is there or not.
#[derive(Debug, Serialize)]
pub(super) struct Feature {
    pub(super) name: &'static str,
    pub(super) supported: bool,
    /// What does not work without it; `null` where it is there.
    pub(super) consequence: Option<String>,
    /// Whether nothing would be balanced without it.
    #[serde(skip)]
    pub(super) required: bool,
}

/// All of them, in the order in which one would put them right.
pub(super) fn all(kernel: &str, pin: &Path, refuses_with_errno: Option<bool>) -> Vec<Feature> {
    let capabilities =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let has = |wanted: CapabilitySet| capabilities.contains(wanted);
    let admin = has(CapabilitySet::SYS_ADMIN);
    vec![
        optional("Linux 5.10", version(kernel).is_some_and(|version| version >= (5, 10)), || {
            "older kernels are not tested: expect anything".into()
        }),
        required("privileges", admin || has(CapabilitySet::BPF | CapabilitySet::NET_ADMIN), || {
            "nothing can be loaded: run as root, or with CAP_BPF and CAP_NET_ADMIN".into()
        }),
        required("BTF", Path::new("/sys/kernel/btf/vmlinux").exists(), || {
            "nothing can be loaded: the kernel needs CONFIG_DEBUG_INFO_BTF".into()
        }),
        cgroup2(),
        optional("cgroup root", cgroup::is_the_nodes(), || cgroup::OF_A_CONTAINER.into()),
        bpffs(pin),
        optional("namespaces", admin && has(CapabilitySet::SYS_PTRACE) && sees_the_node(), || {
            "sockets of Pods are not closed and opt-outs not found: run as root, or with \
             CAP_SYS_ADMIN and CAP_SYS_PTRACE, in the host's PID namespace (hostPID: true)"
                .into()
        }),
        optional("bpf_set_retval", refuses_with_errno == Some(true), || {
            match refuses_with_errno {
                Some(_) => {
                    "a refused connection fails with EPERM instead of ECONNREFUSED (Linux 5.18)"
                }
                None => "not known, since no program could be loaded",
            }
            .into()
        }),
        optional("SO_NETNS_COOKIE", matches!(current_cookie(), Ok(Some(_))), || {
            "--scope host, opt-outs, --nodeport-localhost and --protect-nodeports do not work \
             (Linux 5.14)"
                .into()
        }),
        sock_destroy(),
        optional("IPv6", has_ipv6(), || NO_IPV6.into()),
        optional("node ports", ports::are_kept_apart(), || {
            format!(
                "the kernel may give one of the ports {}-{} to a socket that asks for any, and what \
                 is sent to that socket from this node goes to the Service whose node port it is: \
                 keep them out of net.ipv4.ip_local_port_range, or name those that are used in \
                 net.ipv4.ip_local_reserved_ports",
                ports::NODE_PORTS.start(),
                ports::NODE_PORTS.end()
            )
        }),
        optional("SCTP", false, || {
            "SCTP is never balanced, since its sockets fire no hook: leave such Services to \
             kube-proxy"
                .into()
        }),
    ]
}

fn cgroup2() -> Feature {
    let found = cgroup::root();
    required("cgroup v2", found.is_ok(), || {
        found.err().map_or_else(String::new, |error| format!("nothing can be attached: {error:#}"))
    })
}

/// Whether `pin` is, or could be made, on a bpf filesystem.
fn bpffs(pin: &Path) -> Feature {
    // Its parent has to be there: `socklb run` makes no more than the last part.
    let found = [Some(pin), pin.parent()]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
        .and_then(|path| statfs(path).ok())
        .is_some_and(|filesystem| filesystem.f_type as u64 == BPF_FS_MAGIC);
    optional("bpf filesystem", found, || {
        format!(
            "{} is on none, so `socklb run` needs --no-pin, and balancing ends with it: mount one \
             (mount -t bpf bpf /sys/fs/bpf)",
            pin.display()
        )
    })
}

fn sock_destroy() -> Feature {
    let tried = close::probe();
    optional("SOCK_DESTROY", tried.is_ok(), || {
        let why = tried.err().map_or_else(String::new, |error| error.to_string());
        format!(
            "--close-stale does nothing: sockets stay connected to backends that are gone ({why})"
        )
    })
}

fn required(name: &'static str, supported: bool, lack: impl FnOnce() -> String) -> Feature {
    Feature { required: true, ..optional(name, supported, lack) }
}

fn optional(name: &'static str, supported: bool, lack: impl FnOnce() -> String) -> Feature {
    let consequence = (!supported).then(lack);
    Feature { name, supported, consequence, required: false }
}

/// Major and minor number of a release such as `6.1.0-32-cloud-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|symbol: char| !symbol.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_versions() {
        assert_eq!(version("6.1.0-32-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert_eq!(version("7.3-rc1"), Some((7, 3)));
        assert!(version("5.9.16") < Some((5, 10)) && version("5.10.1") >= Some((5, 10)));
        assert_eq!(version("next"), None);
    }

    #[test]
    fn only_what_is_missing_has_a_consequence() {
        let tmp = tempfile::tempdir().unwrap();
        let features = all("5.9.1", tmp.path(), Some(true));
        let find = |name| features.iter().find(|feature| feature.name == name).expect(name);
        for feature in &features {
            assert_eq!(feature.consequence.is_none(), feature.supported, "{}", feature.name);
        }
        let lacking = ["Linux 5.10", "bpf filesystem", "SCTP"];
        assert!(lacking.into_iter().all(|name| !find(name).supported));
        assert!(find("bpf_set_retval").supported);
        let here = find("bpf filesystem").consequence.as_deref();
        assert!(here.is_some_and(|text| text.contains(tmp.path().to_str().unwrap())));
    }
}
