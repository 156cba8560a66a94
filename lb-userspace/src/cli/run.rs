//! `socklb run`: its flags, and which of them do not go together.
//!
//! Nothing here may ask the machine: whether it can do what a flag wants shows when it is done.

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
    /// File that says how to reach the API server [default: the service account of the Pod that
    /// this runs in]
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
    /// the service account says. Name one that is no Service's where no kube-proxy runs: the
    /// Service of the API server needs an agent to be reached
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    fn run(flags: &str) -> Result<Box<Run>, String> {
        let arguments = "socklb run --manifests m".split(' ').chain(flags.split_whitespace());
        match Cli::try_read(arguments) {
            Ok(Cli { command: Command::Run(run), .. }) => Ok(run),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn without_flags_everything_is_served_and_nothing_refused() {
        let run = run("").unwrap();
        assert_eq!((run.scope, run.peername), (Scope::All, PeerName::All));
        assert_eq!(run.close_stale, CloseStale::Udp);
        assert_eq!(run.max_affinity, 65_536);
        let off = [run.refuse_unserved, run.nodeport_localhost, run.protect_nodeports];
        assert_eq!(off, [false; 3]);
        assert!(!run.translate_local_addresses && !run.no_pin);
    }

    #[test]
    fn a_cluster_is_the_source_unless_a_folder_is() {
        let cluster = |flags: &str| {
            let arguments = "socklb run".split(' ').chain(flags.split_whitespace());
            Cli::try_read(arguments).map_err(|error| error.to_string())
        };
        let flags = "--kubeconfig k --context c --api-server https://[fd00::1]:6443 --refuse-unserved \
                     --endpoints-api endpoints --health [::1]:80";
        let Ok(Cli { command: Command::Run(run), .. }) = cluster(flags) else {
            panic!("not taken")
        };
        assert_eq!(run.api_server.unwrap().host(), Some("[fd00::1]"));
        assert_eq!((run.endpoints_api, run.api_idle_timeout), (EndpointsApi::Endpoints, 90));
        assert!(cluster("").is_ok() && cluster("--context c").is_err());
        for server in ["192.0.2.1:6443", "ftp://192.0.2.1", "https://192.0.2.1/api", "https://"] {
            let error = cluster(&format!("--api-server {server}")).unwrap_err();
            assert!(error.contains("--api-server"), "{error}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas_or_repeated() {
        let run = run("--nodeport-addresses 10.1.2.3/8,fd00::/64 --nodeport-addresses 192.0.2.1 \
             --api-server-address 10.0.0.1 --api-server-address fd00::1 \
             --opt-out app=mesh,tier!=web --opt-out vm --opt-out-namespaces istio-injection=enabled \
             --refuse-unserved --service-cidr 10.96.0.0/12,fd00:96::/112")
        .unwrap();
        let text =
            |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&run.nodeport_addresses), ["10.0.0.0/8", "fd00::/64", "192.0.2.1/32"]);
        assert_eq!(text(&run.service_cidr), ["10.96.0.0/12", "fd00:96::/112"]);
        assert_eq!(run.api_server_address.len(), 2);
        assert_eq!((run.opt_out.len(), run.opt_out_namespaces.len()), (2, 1));
    }

    #[test]
    fn errors_name_the_flag() {
        let five = "10.1.0.0/16,10.2.0.0/16,10.3.0.0/16,10.4.0.0/16,10.5.0.0/16";
        for (flags, expected) in [
            ("--refuse-unserved", "--service-cidr"),
            ("--kubeconfig k", "--kubeconfig"),
            ("--api-server https://192.0.2.1", "--api-server"),
            ("--health 192.0.2.1:80", "--health"),
            ("--health 127.0.0.1", "--health"),
            ("--service-cidr 10.96.0.0/33", "--service-cidr"),
            (&*format!("--service-cidr {five}"), "--service-cidr: 5 IPv4 networks: at most 4"),
            ("--service-cidr 0.0.0.0/0", "--service-cidr: 0.0.0.0/0 is no network of ClusterIPs"),
            ("--service-cidr 127.0.0.0/8", "--service-cidr: 127.0.0.0/8 is the loopback network"),
            ("--service-cidr ::/0", "a prefix of /32 or longer is needed for IPv6"),
            ("--nodeport-addresses primary", "--nodeport-addresses"),
            ("--api-server-address 0.0.0.0", "--api-server-address"),
            ("--opt-out a=b=c", "--opt-out"),
            ("--opt-out-namespaces !", "--opt-out-namespaces"),
            ("--peername tcp", "--peername"),
            ("--close-stale tcp", "--close-stale"),
            ("--scope pods", "--scope"),
            ("--max-affinity 0", "--max-affinity"),
        ] {
            let error = run(flags).unwrap_err();
            assert!(error.contains(expected), "{flags}: {error}");
        }
        assert!(
            run(&format!("--service-cidr {five},fd00::/64").replace("10.5.0.0/16,", "")).is_ok()
        );
    }
}
