//! `socklb run`: its flags, and which of them do not go together.
//!
//! Nothing here may ask the machine: whether it can do what a flag wants shows when it is done.

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use http::Uri;
use ipnet::IpNet;

use super::{
    PINS,
    cidr::{cidr, host},
    server::server,
};
use crate::{dataplane::ServiceNetworks, optout::Selector};

/// `socklb run`
#[derive(Debug, Args)]
pub struct Run {
    /// Folder of manifests (*.yaml, *.yml, *.json) to serve instead of a cluster, watched for
    /// changes: Services, EndpointSlices, Endpoints, Pods, Nodes and Namespaces
    #[arg(long, value_name = "DIR", help_heading = "Where Services come from",
          conflicts_with_all = ["kubeconfig", "context", "api_server", "endpoints_api",
                                "api_idle_timeout"])]
    pub manifests: Option<PathBuf>,
    /// File that says how to reach the API server, which is asked directly, never through a proxy
    /// [default: the service account of the Pod that this runs in]
    #[arg(long, value_name = "FILE", help_heading = "Where Services come from")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file [default: its current one]
    #[arg(
        long,
        value_name = "NAME",
        requires = "kubeconfig",
        help_heading = "Where Services come from"
    )]
    pub context: Option<String>,
    /// Where the API server is, as in https://192.0.2.1:6443, if not where the kubeconfig file or
    /// the service account says. Name an address that is no Service's where no kube-proxy runs: the
    /// agent does not balance its own connections
    #[arg(long, value_name = "URL", value_parser = server,
          help_heading = "Where Services come from")]
    pub api_server: Option<Uri>,
    /// API that endpoints are read from
    #[arg(long, value_enum, default_value_t = EndpointsApi::Endpointslices,
          help_heading = "Where Services come from")]
    pub endpoints_api: EndpointsApi,
    /// Seconds without a word from the API server after which a connection is taken for dead. It
    /// sends a bookmark about every 60 seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 90,
          value_parser = clap::value_parser!(u64).range(1..=3_600),
          help_heading = "Where Services come from")]
    pub api_idle_timeout: u64,
    /// Serve /healthz, /readyz and /metrics over HTTP on this address, as in 127.0.0.1:10240. It
    /// must be a loopback address [default: not served]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    pub health: Option<SocketAddr>,
    /// Cgroup v2 directory whose processes are served [default: the root of the cgroup v2 mount]
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// Directory on a bpf filesystem that keeps programs and tables in force while the agent is
    /// stopped
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub pin: PathBuf,
    /// Pin nothing: balancing ends with the agent
    #[arg(long, conflicts_with = "pin")]
    pub no_pin: bool,
    /// Name of this node, for internalTrafficPolicy: Local, topology hints and opt-outs
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,

    /// Which sockets are balanced. `host` needs Linux 5.14
    #[arg(long, value_enum, default_value_t = Scope::All, help_heading = "Who is balanced")]
    pub scope: Scope,
    /// Balance no Pod whose labels match, as in app=mesh,tier!=web. May be repeated: one match is
    /// enough. Pods and Namespaces with the label socklb.io/opt-out: "true" (Pods: or annotation)
    /// opt out without a flag, and "false" keeps a Pod in. Needs Linux 5.14
    #[arg(long, value_name = "SELECTOR", help_heading = "Who is balanced")]
    pub opt_out: Vec<Selector>,
    /// Balance no Pod of a Namespace whose labels match, as in istio-injection=enabled. May be
    /// repeated. Needs Linux 5.14
    #[arg(long, value_name = "SELECTOR", help_heading = "Who is balanced")]
    pub opt_out_namespaces: Vec<Selector>,

    /// Networks of the node addresses that serve NodePorts, as in 192.168.0.0/16,fd00::/64
    /// [default: all addresses of the node but loopback and link-local ones]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr,
          help_heading = "Frontends")]
    pub nodeport_addresses: Vec<IpNet>,
    /// Serve NodePorts on 127.0.0.1 as well, for processes in the host's network namespace. Needs
    /// Linux 5.14
    #[arg(long, help_heading = "Frontends")]
    pub nodeport_localhost: bool,
    /// Let no process in the host's network namespace bind to a NodePort that is served, where it
    /// would get no connection from this node: bind() fails with EADDRINUSE (EPERM before Linux
    /// 5.18). Needs Linux 5.14
    #[arg(long, help_heading = "Frontends")]
    pub protect_nodeports: bool,
    /// Balance a ClusterIP also if an interface of the node has it, other than kube-ipvs0. Otherwise
    /// whoever listens there is reached, as NodeLocal DNSCache wants it
    #[arg(long, help_heading = "Frontends")]
    pub translate_local_addresses: bool,
    /// Address of the API server, beside the endpoints of Service default/kubernetes, which no Service
    /// may take over with an external IP or a load balancer's address. May be repeated
    #[arg(long, value_name = "IP", value_parser = host, help_heading = "Frontends")]
    pub api_server_address: Vec<IpAddr>,
    /// Refuse TCP and UDP to addresses and ports that no Service has, in the networks that
    /// ClusterIPs are given from: those of --service-cidr, or of the API server (ServiceCIDR
    /// objects). Not for use beside another proxy, whose Services may be unknown here
    #[arg(long, help_heading = "Frontends")]
    pub refuse_unserved: bool,
    /// Network of the ClusterIPs, for --refuse-unserved, instead of asking the API server. May be
    /// repeated, or several with commas between them: at most 4 of IPv4 and 4 of IPv6
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr,
          help_heading = "Frontends")]
    pub service_cidr: Vec<IpNet>,

    /// For which sockets getpeername(), recvfrom() and recvmsg() report the Service's address
    /// instead of the backend's
    #[arg(long, value_enum, default_value_t = PeerName::All,
          help_heading = "What applications notice")]
    pub peername: PeerName,
    /// Which connected sockets are closed when their backend stops serving, so that the application
    /// connects anew: it sees ECONNABORTED
    #[arg(long, value_enum, default_value_t = CloseStale::Udp,
          help_heading = "What applications notice")]
    pub close_stale: CloseStale,

    /// Most frontends (addresses and ports) at once, of both families together. 16384 take 4.4 MB
    /// of kernel memory, and up to 8 MB when each is a Service port of its own; more or fewer take
    /// that much more or less
    #[arg(long, value_name = "N", default_value_t = 16_384, help_heading = "Sizes",
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_frontends: u32,
    /// Most backends of each family at once, over all Service ports. 65536 take 2.6 MB of kernel
    /// memory: 16 bytes each for IPv4 and 24 for IPv6. Leave a quarter free: a change writes a
    /// Service port's backends anew before the old are reused
    #[arg(long, value_name = "N", default_value_t = 65_536, help_heading = "Sizes",
          value_parser = clap::value_parser!(u32).range(1..=134_217_728))]
    pub max_backends: u32,
    /// Most pairs of a client (a network namespace) and a Service port with ClientIP affinity that
    /// are remembered, each about 96 bytes of kernel memory: 65536 take 6.3 MB. Beyond that the
    /// pairs that were not used for longest lose their affinity
    #[arg(long, value_name = "N", default_value_t = 65_536, help_heading = "Sizes",
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_affinity: u32,
}

/// Where endpoints are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EndpointsApi {
    /// EndpointSlices
    Endpointslices,
    /// Endpoints, for clusters and tools that write nothing else
    Endpoints,
}

/// Whose sockets are balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Those of Pods and of host processes
    All,
    /// Those in the host's network namespace alone
    Host,
}

/// Whose peer's address is translated back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerName {
    /// TCP and UDP
    All,
    /// UDP alone: TCP sockets see the backend's address in getpeername()
    Udp,
    /// None. Resolvers and others that compare a datagram's source with where they sent to drop
    /// what comes from a backend
    None,
}

/// Which sockets are closed when their backend stops serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CloseStale {
    /// UDP: nothing else tells the application that its backend is gone
    Udp,
    /// UDP and TCP
    All,
    /// None
    None,
}

/// An address that only this machine can reach: what is told there is for its operator.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "expected an address and a port, as in 127.0.0.1:10240")?;
    if !address.ip().is_loopback() {
        return Err("only a loopback address can be served, as in 127.0.0.1:10240".into());
    }
    Ok(address)
}

impl Run {
    /// What one flag's value alone does not tell.
    pub(super) fn validate(&self) -> Result<(), String> {
        ServiceNetworks::new(&self.service_cidr)
            .map_err(|error| format!("--service-cidr: {error}"))?;
        if self.refuse_unserved && self.service_cidr.is_empty() && self.manifests.is_some() {
            return Err(
                "--refuse-unserved with --manifests needs --service-cidr: there is no API \
                        server to ask"
                    .into(),
            );
        }
        Ok(())
    }
}
