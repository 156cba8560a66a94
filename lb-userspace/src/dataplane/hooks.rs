//! The hooks: what each program is attached to, and what is missing without it.
//!
//! This module must never load or attach anything.

use aya_obj::generated::bpf_attach_type::{
    self, BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET4_POST_BIND,
    BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_INET6_POST_BIND,
    BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_RECVMSG,
    BPF_CGROUP_UDP6_SENDMSG,
};

/// A program and its hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The program's name, and its link's in the pin directory.
    pub name: &'static str,
    /// Where it is attached to a cgroup.
    pub attach_type: bpf_attach_type,
    /// What it is for.
    pub part: Part,
    /// What does not work without it.
    pub consequence: &'static str,
}

/// What a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sends sockets to backends.
    Forward,
    /// Shows them the Service's address.
    Reverse,
    /// Keeps node ports free.
    Bind,
}

/// All hooks, in the order in which they are attached: what shows a Service's address is there
/// before a socket can be sent to a backend.
pub const HOOKS: [Hook; 10] = [
    Hook {
        name: "getpeername4",
        attach_type: BPF_CGROUP_INET4_GETPEERNAME,
        part: Part::Reverse,
        consequence: "getpeername() on IPv4 sockets shows the backend's address",
    },
    Hook {
        name: "getpeername6",
        attach_type: BPF_CGROUP_INET6_GETPEERNAME,
        part: Part::Reverse,
        consequence: "getpeername() on IPv6 sockets shows the backend's address",
    },
    Hook {
        name: "recvmsg4",
        attach_type: BPF_CGROUP_UDP4_RECVMSG,
        part: Part::Reverse,
        consequence: "recvfrom() on IPv4 sockets shows the backend's address",
    },
    Hook {
        name: "recvmsg6",
        attach_type: BPF_CGROUP_UDP6_RECVMSG,
        part: Part::Reverse,
        consequence: "recvfrom() on IPv6 sockets shows the backend's address",
    },
    Hook {
        name: "connect4",
        attach_type: BPF_CGROUP_INET4_CONNECT,
        part: Part::Forward,
        consequence: "nothing is balanced",
    },
    Hook {
        name: "connect6",
        attach_type: BPF_CGROUP_INET6_CONNECT,
        part: Part::Forward,
        consequence: "connect() on IPv6 sockets is not balanced, to IPv4 addresses either",
    },
    Hook {
        name: "sendmsg4",
        attach_type: BPF_CGROUP_UDP4_SENDMSG,
        part: Part::Forward,
        consequence: "datagrams of unconnected sockets to IPv4 are not balanced",
    },
    Hook {
        name: "sendmsg6",
        attach_type: BPF_CGROUP_UDP6_SENDMSG,
        part: Part::Forward,
        consequence: "datagrams of unconnected sockets to IPv6 are not balanced",
    },
    Hook {
        name: "post_bind4",
        attach_type: BPF_CGROUP_INET4_POST_BIND,
        part: Part::Bind,
        consequence: "IPv4 sockets of the host may be bound to served node ports",
    },
    Hook {
        name: "post_bind6",
        attach_type: BPF_CGROUP_INET6_POST_BIND,
        part: Part::Bind,
        consequence: "IPv6 sockets of the host may be bound to served node ports",
    },
];

/// Without this one an agent is of no use.
pub const INDISPENSABLE: &str = "connect4";
