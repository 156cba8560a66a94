//! `socklb run`: its flags, and which of them do not go together.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::{
    PINS,
    cidr::{cidr, host},
};
use crate::optout::Selector;

/// Service networks of each family that the tables have room for.
const SERVICE_CIDRS: usize = 4;
/// The shortest prefixes of a Service network. A wider one would refuse what is no Service's.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 32;

/// `socklb run`
#[derive(Debug, Args)]
pub struct Run {
    /// Folder of manifests (*.yaml, *.yml, *.json) to serve, watched for changes: Services,
    /// EndpointSlices, Endpoints, Pods, Nodes and Namespaces
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
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
    /// Refuse TCP and UDP to ports that no Service has, on ClusterIPs that are served and in the
    /// networks of --service-cidr. Not for use beside another proxy, whose Services may be unknown
    /// here
    #[arg(long, requires = "service_cidr", help_heading = "Frontends")]
    pub refuse_unserved: bool,
    /// Network of the ClusterIPs, as the API server has it, for --refuse-unserved. May be repeated,
    /// or several with commas between them: at most 4 of IPv4 and 4 of IPv6
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

impl Run {
    /// What one flag's value alone does not tell.
    pub(super) fn validate(&self) -> Result<(), String> {
        let (v4, v6): (Vec<&IpNet>, Vec<&IpNet>) =
            self.service_cidr.iter().partition(|network| network.addr().is_ipv4());
        for (family, networks, shortest) in [("IPv4", v4, SHORTEST_V4), ("IPv6", v6, SHORTEST_V6)] {
            if networks.len() > SERVICE_CIDRS {
                return Err(format!(
                    "--service-cidr names {} {family} networks: at most {SERVICE_CIDRS} can be \
                     known",
                    networks.len()
                ));
            }
            if let Some(wide) = networks.iter().find(|network| network.prefix_len() < shortest) {
                return Err(format!(
                    "--service-cidr {wide} is no network of ClusterIPs: a prefix of /{shortest} or \
                     longer is needed for {family}"
                ));
            }
        }
        if let Some(local) = self.service_cidr.iter().find(|network| network.addr().is_loopback()) {
            return Err(format!("--service-cidr {local} is the loopback network"));
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
            ("--service-cidr 10.96.0.0/33", "--service-cidr"),
            (&*format!("--service-cidr {five}"), "--service-cidr names 5 IPv4 networks: at most 4"),
            ("--service-cidr 0.0.0.0/0", "--service-cidr 0.0.0.0/0 is no network of ClusterIPs"),
            ("--service-cidr 127.0.0.0/8", "--service-cidr 127.0.0.0/8 is the loopback network"),
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
